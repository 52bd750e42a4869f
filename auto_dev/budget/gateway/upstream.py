"""The way to the providers: one pool of connections, the keys, and who must not be asked for a while."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from io import BytesIO
from ipaddress import ip_address
from typing import Final, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from auto_dev.budget.gateway.errors import ANTHROPIC, GEMINI, OPENAI, RefusedError
from auto_dev.budget.gateway.rates import Limited

KEY_NAMES: Final = {ANTHROPIC: "ANTHROPIC_API_KEY", OPENAI: "OPENAI_API_KEY", GEMINI: "GEMINI_API_KEY"}
_OWN_HOSTS: Final = ("api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,4096}")

# Models think in silence for minutes, so only a connection that says nothing for very long is given up.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=15, sock_read=900)
# A connection that the server has just closed looks like a request that was sent and never answered, which is charged
# in full. So connections are let go before any usual server would (uvicorn closes after 5 s).
_IDLE_S: Final = 4.0
_LARGE: Final = 512 * 1024  # bytes that are written in pieces, so that nobody waits for them


class Upstream:
    """Sends requests; nothing is tried twice, no redirect is followed. ``keys`` gives a key by its name."""

    def __init__(self, keys: Callable[[str], str | None], clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._clock = clock
        self._known: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self._limited: dict[tuple[str, str], Limited] = {}
        self._proxies: dict[str, str | None] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def now(self) -> datetime:
        return self._clock()

    async def key(self, vendor: str, base: str) -> str:
        """The key for ``vendor``; "" where an upstream of one's own may do without. Raises RefusedError."""
        name = KEY_NAMES[vendor]
        if (known := self._known.get(name)) is not None:
            return known
        key = await asyncio.to_thread(self._keys, name) or ""  # a keyring may ask over a socket
        if not key and URL(base).host in _OWN_HOSTS:
            raise RefusedError(f"{name} is not set, so {URL(base).host} cannot be asked; set it and go on", None)
        if key and not _KEY.fullmatch(key):
            raise RefusedError(f"{name} has characters that no key has; set it anew", None)
        if key:
            self._known[name] = key
        return key

    def forget_key(self, vendor: str) -> None:
        """Look the key up anew next time."""
        self._known.pop(KEY_NAMES[vendor], None)

    def request(
        self, vendor: str, base: str, method: str, path: str, headers: dict[str, str], key: str, body: bytes | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """One request, as a context manager of its response. Raises what aiohttp raises."""
        assert self._session is not None
        if vendor == ANTHROPIC:
            headers = {"anthropic-version": "2023-06-01", **headers} | ({"x-api-key": key} if key else {})
        elif vendor == OPENAI:
            headers = headers | ({"authorization": f"Bearer {key}"} if key else {})
        else:
            headers = headers | ({"x-goog-api-key": key} if key else {})
        if body is not None:
            headers["content-type"] = "application/json"
        return self._session.request(
            method, URL(base + path, encoded=True), headers=headers, allow_redirects=False,
            data=body if body is None or len(body) < _LARGE else BytesIO(body),
            proxy=self._proxy(base),
        )  # fmt: skip

    def limit(self, vendor: str, base: str) -> Limited | None:
        """Why ``base`` must not be asked now, if so."""
        found = self._limited.get((vendor, base))
        if found is not None and found.resets_at <= self._clock():
            del self._limited[(vendor, base)]
            return None
        return found

    def set_limit(self, vendor: str, base: str, limited: Limited) -> None:
        """Nobody asks ``base`` before the limit ends."""
        self._limited[(vendor, base)] = limited

    def _proxy(self, base: str) -> str | None:
        if base not in self._proxies:
            self._proxies[base] = proxy_for(base)
        return self._proxies[base]


def proxy_for(base: str) -> str | None:
    """The proxy of the environment for ``base``; none for this machine itself."""
    url = URL(base)
    host = url.host or ""
    if host == "localhost" or host.endswith(".localhost") or _is_loopback(host) or proxy_bypass(host):
        return None
    found = getproxies().get(url.scheme) or getproxies().get("all")
    if not found:
        return None
    return found if "://" in found else f"http://{found}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
