"""Draft pull requests: on GitHub, or as files where there is no forge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from auto_dev.config import ForgeConfig
from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import Digest, DraftSpec, Forge, ForgeUnavailableError, News, Pull, Watched

if TYPE_CHECKING:
    import httpx

    from auto_dev.forge.credentials import Credentials
    from auto_dev.forge.github_client import Patience

__all__ = [
    "FORGES",
    "Allowance",
    "Digest",
    "DraftSpec",
    "Forge",
    "ForgeUnavailableError",
    "News",
    "Pull",
    "Watched",
    "make_credentials",
    "make_forge",
]

Clock = Callable[[], datetime]
Secrets = Callable[[str], "str | None"]
Maker = Callable[[ForgeConfig, "Credentials | None", Path, "httpx.AsyncBaseTransport | None", Clock], Forge]


def _github(
    config: ForgeConfig,
    credentials: Credentials | None,
    _folder: Path,
    transport: httpx.AsyncBaseTransport | None,
    clock: Clock,
) -> Forge:
    # Imported here: httpx costs the command line 100 ms that most commands do not need.
    from auto_dev.forge.github import GitHubForge

    if credentials is None:
        raise ForgeError("there are no credentials for GitHub", where="GITHUB_TOKEN")
    return GitHubForge(config.repository or "", credentials, config.api_url, transport=transport, clock=clock)


def _none(
    _config: ForgeConfig,
    _credentials: Credentials | None,
    folder: Path,
    _transport: httpx.AsyncBaseTransport | None,
    _clock: Clock,
) -> Forge:
    from auto_dev.forge.local import LocalForge

    return LocalForge(folder)


FORGES: dict[str, Maker] = {"github": _github, "none": _none}


def make_forge(
    config: ForgeConfig,
    credentials: Credentials | None,
    folder: Path,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    clock: Clock = lambda: datetime.now(UTC),
) -> Forge:
    """The forge that ``[forge]`` names. ``folder`` takes the files of ``kind = "none"``. Raises ForgeError.

    ``credentials`` are those of ``make_credentials``, and stay the caller's to close; ``transport`` is what carries
    the requests, for tests and for a proxy of one's own.
    """
    return FORGES[config.kind](config, credentials, folder, transport, clock)


def make_credentials(
    config: ForgeConfig,
    secrets: Secrets,
    *,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
    patience: Patience | None = None,
) -> Credentials | None:
    """What ``[forge]`` and the secrets make of auto-dev; None where there is no forge. Raises ForgeError."""
    if config.kind == "none":
        return None
    # Imported here: httpx and the cryptography cost the command line 200 ms that most commands do not need.
    if config.app_id is not None:
        from auto_dev.forge.github_app import AppTokens, private_key

        return AppTokens(config, private_key(secrets), clock=clock, transport=transport, patience=patience)
    from auto_dev.forge.credentials import StaticToken

    token = (secrets("GITHUB_TOKEN") or "").strip()
    if not token:
        raise ForgeError(
            "no GitHub token",
            where="GITHUB_TOKEN",
            mend="Set GITHUB_TOKEN (or keep it in the OS keyring): a token that may read and write pull requests of "
            f'{config.repository}. Or set app_id of a GitHub App, or kind = "none", in [forge].',
        )
    return StaticToken(token)
