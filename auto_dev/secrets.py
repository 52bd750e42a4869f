"""Secrets: from the environment, else from the OS keyring. They never enter a child, a log, a file or the database."""

from __future__ import annotations

import os

SERVICE = "auto-dev"
NAMES = (
    "GITHUB_TOKEN",
    "SLACK_BOT_TOKEN",
    "SLACK_APP_TOKEN",
    "SLACK_SIGNING_SECRET",
    "AUTO_DEV_SMTP_URL",
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
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
