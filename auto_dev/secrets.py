"""Secrets: from the environment, else from the OS keyring. They never enter a child, a log, a file or the database."""

from __future__ import annotations

import os
import sys

SERVICE = "auto-dev"
NAMES = (
    "GITHUB_TOKEN",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_APP_PRIVATE_KEY_FILE",
    "SLACK_BOT_TOKEN",
    "SLACK_APP_TOKEN",
    "SLACK_SIGNING_SECRET",
    "AUTO_DEV_SMTP_URL",
    "AUTO_DEV_APPRISE_URLS",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
)


def secret(name: str) -> str | None:
    """The secret ``name``, or None when neither the environment nor the keyring has it."""
    if value := os.environ.get(name, "").strip():
        return value
    import keyring
    import keyring.errors

    try:
        stored = keyring.get_password(SERVICE, name)
    except keyring.errors.KeyringError:
        return None  # no keyring on this machine, or it is locked: then the environment is all there is
    return stored.strip() or None if stored else None


def shield() -> None:
    """Make this process's environment and memory unreadable to other processes of the same user (Linux).

    Without a sandbox an agent runs as that user and could read ``/proc/<daemon>/environ``. Also switches core dumps
    off. Root reads everything all the same.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_dumpable = 4
        if ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
