"""Who auto-dev is to GitHub: a token of a person, or an App's; the only holder of either."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import httpx

from auto_dev.errors import ForgeError


class Credentials(Protocol):
    """Where a token comes from, for requests and for pushes alike. ``kind``: token | app."""

    kind: str

    async def token(self) -> str:
        """One that is good for the next minutes. Raises ForgeError when none can be had."""
        ...

    async def refused(self, token: str) -> bool:
        """The server does not take ``token`` any more; returns whether another one is worth one more try."""
        ...

    def hide(self, text: str) -> str:
        """``text`` without a token, should a server or a library echo it."""
        ...

    async def close(self) -> None:
        """Free connections."""
        ...


class StaticToken:
    """A token that a person made: there is no other one when it is refused."""

    kind = "token"

    def __init__(self, token: str) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ForgeError("the token has characters that no token has", where="GITHUB_TOKEN", mend="Copy it again.")
        self._token = token

    def __repr__(self) -> str:
        return "StaticToken(…)"

    async def token(self) -> str:
        return self._token

    async def refused(self, token: str) -> bool:  # noqa: ARG002 (the protocol's)
        return False

    def hide(self, text: str) -> str:
        return hidden(text, self._token)

    async def close(self) -> None:
        """Nothing is held open."""


class Bearer(httpx.Auth):
    """Adds the token when a request leaves; it is in no header set, log line or repr before.

    A 401 changed nothing, so the request is sent once more where there is a new token to be had.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __repr__(self) -> str:
        return "Bearer(…)"

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self._credentials.token()
        request.headers["authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401 and await self._credentials.refused(token):
            request.headers["authorization"] = f"Bearer {await self._credentials.token()}"
            yield request


def hidden(text: str, token: str) -> str:
    # A shorter one is no real token, and hiding it would only garble the text.
    return text.replace(token, "***") if len(token) >= 8 else text
