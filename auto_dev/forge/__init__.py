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
    "make_forge",
]

Clock = Callable[[], datetime]
Maker = Callable[[ForgeConfig, "str | None", Path, "httpx.AsyncBaseTransport | None", Clock], Forge]


def _github(
    config: ForgeConfig, token: str | None, _folder: Path, transport: httpx.AsyncBaseTransport | None, clock: Clock
) -> Forge:
    # Imported here: httpx costs the command line 100 ms that most commands do not need.
    from auto_dev.forge.github import GitHubForge

    if not token or not token.strip():
        raise ForgeError(
            "no GitHub token",
            where="GITHUB_TOKEN",
            mend="Set GITHUB_TOKEN (or keep it in the OS keyring): a token that may read and write pull requests of "
            f'{config.repository}. Or set kind = "none" in [forge].',
        )
    return GitHubForge(config.repository or "", token.strip(), config.api_url, transport=transport, clock=clock)


def _none(
    _config: ForgeConfig, _token: str | None, folder: Path, _transport: httpx.AsyncBaseTransport | None, _clock: Clock
) -> Forge:
    from auto_dev.forge.local import LocalForge

    return LocalForge(folder)


FORGES: dict[str, Maker] = {"github": _github, "none": _none}


def make_forge(
    config: ForgeConfig,
    token: str | None,
    folder: Path,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    clock: Clock = lambda: datetime.now(UTC),
) -> Forge:
    """The forge that ``[forge]`` names. ``folder`` takes the files of ``kind = "none"``. Raises ForgeError.

    ``transport`` is what carries the requests, for tests and for a proxy of one's own.
    """
    return FORGES[config.kind](config, token, folder, transport, clock)
