"""The forge's credentials for git's own connections, where the remote is the forge's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auto_dev.errors import ForgeError
from auto_dev.forge.base import ForgeUnavailableError
from auto_dev.worktrees.repository import UserRepository
from auto_dev.worktrees.transport import Remote, RemoteError, RemoteFault

if TYPE_CHECKING:
    from auto_dev.forge.credentials import Credentials

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class GitTokens:
    """Tokens for pushing and fetching, fresh at each connection. Raises RemoteError where none can be had."""

    credentials: Credentials

    async def token(self) -> str:
        try:
            return await self.credentials.token()
        except ForgeUnavailableError as error:
            raise RemoteError(error.what, where=error.where, mend=error.mend, kind=RemoteFault.NETWORK) from error
        except ForgeError as error:
            raise RemoteError(error.what, where=error.where, mend=error.mend, kind=RemoteFault.AUTH) from error

    async def refused(self, token: str) -> bool:
        return await self.credentials.refused(token)


def with_tokens(repository: UserRepository, credentials: Credentials | None, api_url: str) -> UserRepository:
    """``repository`` whose remotes are reached with ``credentials``, if they are on the forge that gave these."""
    if credentials is None:
        return repository
    tokens = GitTokens(credentials)

    def armed(remote: Remote | None) -> Remote | None:
        return replace(remote, tokens=tokens) if remote and takes_token(remote.url, api_url) else remote

    return replace(repository, fetch=armed(repository.fetch), push=armed(repository.push))


def takes_token(url: str, api_url: str) -> bool:
    """Whether the git server at ``url`` belongs to the API, and nobody on the way reads what is sent there."""
    try:
        there, api = urlsplit(url), urlsplit(api_url)
        host, api_host = there.hostname or "", api.hostname or ""
    except ValueError:
        return False
    # github.com and the tenants of ghe.com have their API beside; an Enterprise server has it below /api/v3.
    same = host in (api_host, api_host.removeprefix("api."))
    return same and (there.scheme == "https" or (there.scheme == "http" and host in _LOOPBACK))
