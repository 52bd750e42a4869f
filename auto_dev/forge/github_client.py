"""GitHub over HTTP: patience, limits and redirects; what comes back is JSON or a ForgeError."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.request
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlencode

import httpx

from auto_dev import __version__
from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import ForgeUnavailableError
from auto_dev.forge.github_answers import explain, limit_wait, messages, number, retry_after
from auto_dev.forge.github_requests import ALLOWED, REPOSITORY, Check, GuardedTransport
from auto_dev.text import line

API_VERSION: Final = "2022-11-28"
MAX_ANSWER: Final = 16 * 1024 * 1024  # bytes; a page of 100 pull requests has about 2 MB
MAX_REDIRECTS: Final = 3
MAX_LIMIT_WAITS: Final = 3
MAX_KNOWN: Final = 2_000  # answers that are kept to ask whether they changed
KEPT_FOR_WORK: Final = 100  # requests of the token's own limit that are not spent on looking
MAX_TIME: Final = 4_102_444_800  # the year 2100: a header may name any
_MOVED: Final = (301, 302, 307, 308)

Value = TypeVar("Value")
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. ``attempts`` of one request when repeating is safe; times in seconds.

    ``max_wait_s`` bounds one wait for a rate limit; a longer one is an error that says when it resets.
    """

    attempts: int = 4
    first_pause_s: float = 0.5
    max_pause_s: float = 15.0
    max_wait_s: float = 90.0
    connect_s: float = 10.0
    answer_s: float = 60.0


class RefusedError(ForgeError):
    """GitHub understood the request and said no: nothing was changed. ``said`` is its message."""

    def __init__(self, status: int, said: str, what: str, *, where: str, mend: str) -> None:
        super().__init__(what, where=where, mend=mend)
        self.status = status
        self.said = said


class UncertainError(ForgeUnavailableError):
    """No trustworthy answer came: what the request was to change may have been changed or not."""


class AllowanceSpentError(ForgeError):
    """No more requests may go into looking now."""


class _BrokenAnswerError(Exception):
    """The answer cannot be used: too long, or not JSON."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Answer:
    """``unchanged``: the server said that what we know is still so, and ``value`` is None."""

    value: Any
    etag: str = ""
    unchanged: bool = False


class GitHubClient:
    """Sends the ``allowed`` requests for one repository, paths being below ``root``.

    ``transport`` carries them below the guard; ``hide`` takes tokens out of what a server says. ``app``: whether an App
    asks, whose rights are mended in another place than a token's.
    """

    def __init__(
        self,
        repository: str,
        api_url: str,
        *,
        auth: httpx.Auth,
        hide: Callable[[str], str],
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock,
        allowed: Mapping[tuple[str, str], Check | None] = ALLOWED,
        root: str = REPOSITORY,
        app: bool = False,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        patience: Patience,
    ) -> None:
        self.repository = repository
        self._api = _api(api_url)
        self._root = root.replace("{owner}/{repo}", repository)
        self._hide = hide
        self._app = app
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._patience = patience
        self._known: OrderedDict[str, tuple[str, Any]] = OrderedDict()
        self._limit: tuple[int, datetime] | None = None
        inner = transport if transport is not None else _transport(self._api)
        self._http = httpx.AsyncClient(
            transport=GuardedTransport(inner, self._api, repository, allowed),
            auth=auth,
            timeout=httpx.Timeout(patience.answer_s, connect=patience.connect_s),
            follow_redirects=False,
            headers={
                "accept": "application/vnd.github+json",
                "x-github-api-version": API_VERSION,
                "user-agent": f"auto-dev/{__version__}",
            },
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at ``path`` inside the repository. Raises RefusedError, UncertainError, ForgeError."""
        return (await self._exchange("GET", path, params=params, repeat=True)).value

    async def look(
        self, path: str, parse: Callable[[Any], Value], allowance: Allowance, params: Mapping[str, str] | None = None
    ) -> Value:
        """What ``parse`` makes of the JSON at ``path``; one that did not change since the last time costs nothing.

        Raises AllowanceSpentError, and ForgeUnavailableError when the token's own limit is nearly used up.
        """
        self._keep_some_for_work()
        key = f"{path}?{urlencode(sorted((params or {}).items()))}"
        etag, value = self._known.get(key, ("", None))
        answer = await self._exchange("GET", path, params=params, repeat=True, etag=etag, allowance=allowance)
        if answer.unchanged:
            allowance.give_back()
            self._known.move_to_end(key)
            return cast("Value", value)
        found = parse(answer.value)
        self._known.pop(key, None)
        if answer.etag:
            self._known[key] = (answer.etag, found)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    async def post(self, path: str, body: Mapping[str, Any], *, repeat: bool = False) -> Any:
        """Create something. With ``repeat``, doing it twice is the same as once, and it is retried."""
        return (await self._exchange("POST", path, body=body, repeat=repeat)).value

    async def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Set fields to given values; retried, since setting them twice is the same as once."""
        return (await self._exchange("PATCH", path, body=body, repeat=True)).value

    async def pause(self, failures: int, at_least: float = 0.0) -> None:
        """Wait before the next try: doubling, with up to half of it random so that clients do not march in step."""
        pause = min(self._patience.first_pause_s * 2 ** (failures - 1), self._patience.max_pause_s)
        await self._sleep(max(pause * (0.5 + self._jitter() / 2), at_least))

    @property
    def attempts(self) -> int:
        return self._patience.attempts

    async def close(self) -> None:
        await self._http.aclose()

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        repeat: bool,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        etag: str = "",
        allowance: Allowance | None = None,
    ) -> _Answer:
        failures = waits = 0
        while True:
            asked = 0.0
            if allowance is not None and not allowance.take():
                raise AllowanceSpentError("the requests of this hour are used up", where=self.repository)
            try:
                reply = await self._follow(method, path, params, body, etag)
                said = self._hide(messages(reply.raw)) if reply.status >= 300 else ""
                wait = limit_wait(reply.status, reply.headers, said, self._clock())
                if wait is not None:
                    await self._wait_for_limit(wait, waits, said)
                    waits += 1
                    continue
                if reply.status < 500:
                    return self._value(method, reply, said)
                trouble = f"GitHub answered {reply.status}" + (f" ({said})" if said else "")
                asked = min(retry_after(reply.headers, self._clock()) or 0.0, self._patience.max_wait_s)
            except _BrokenAnswerError as error:
                trouble = str(error)
            except TimeoutError:
                trouble = f"GitHub did not answer within {self._patience.answer_s:g} s"
            except httpx.RequestError as error:
                trouble = self._hide(line(f"GitHub cannot be reached: {type(error).__name__} {error}", 300))
            failures += 1
            if not repeat or failures >= self._patience.attempts:
                raise UncertainError(trouble, where=self.repository, mend="It is worth trying again later.") from None
            await self.pause(failures, asked)

    async def _follow(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None, etag: str
    ) -> _Reply:
        """One request and, for GET only, where it is sent on to; the guard judges each of them."""
        url = httpx.URL(f"{str(self._api).rstrip('/')}{self._root}{path}", params=params)
        content = None if body is None else json.dumps(body).encode()
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._once(method, url, content, etag)
            location = reply.headers.get("location")
            if reply.status not in _MOVED or method != "GET" or not location:
                return reply
            try:
                url = url.join(location)
            except httpx.InvalidURL:
                return reply
        raise ForgeError(f"GitHub redirects more than {MAX_REDIRECTS} times", where=self.repository)

    async def _once(self, method: str, url: httpx.URL, content: bytes | None, etag: str) -> _Reply:
        headers = {"content-type": "application/json"} if content is not None else {}
        headers |= {"if-none-match": etag} if etag else {}
        request = self._http.build_request(method, url, content=content, headers=headers)
        # httpx bounds each read; a server that trickles is bounded here.
        async with asyncio.timeout(self._patience.answer_s + self._patience.connect_s):
            response = await self._http.send(request, stream=True)
            try:
                raw = bytearray()
                async for chunk in response.aiter_bytes():
                    raw += chunk
                    if len(raw) > MAX_ANSWER:
                        raise _BrokenAnswerError(f"GitHub's answer is longer than {MAX_ANSWER // 2**20} MB")
            finally:
                await response.aclose()
        self._note_limit(response.headers)
        return _Reply(response.status_code, response.headers, bytes(raw))

    def _note_limit(self, headers: Mapping[str, str]) -> None:
        remaining, reset = (number(headers.get(f"x-ratelimit-{name}")) for name in ("remaining", "reset"))
        if remaining is not None and reset is not None:
            self._limit = int(remaining), datetime.fromtimestamp(min(reset, MAX_TIME), UTC)

    def _keep_some_for_work(self) -> None:
        if self._limit and self._limit[0] < KEPT_FOR_WORK and self._limit[1] > self._clock():
            raise ForgeUnavailableError(
                f"{self._limit[0]} requests are left to the token, which are kept for publishing",
                where=self.repository,
                mend=f"More are there at {self._limit[1]:%Y-%m-%d %H:%M:%S} UTC.",
                resume_at=self._limit[1],
            )

    async def _wait_for_limit(self, wait: float, waits: int, said: str) -> None:
        # A limit that holds on after the wait was a secondary one: GitHub asks for longer and longer pauses.
        wait *= 2**waits
        if waits >= MAX_LIMIT_WAITS or wait > self._patience.max_wait_s:
            resume_at = self._clock() + timedelta(seconds=min(wait, 86_400 * 365))
            raise ForgeUnavailableError(
                f"GitHub's rate limit is used up{f' ({said})' if said else ''}",
                where=self.repository,
                mend=f"It resets at {resume_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.",
                resume_at=resume_at,
            )
        await self._sleep(wait)

    def _value(self, method: str, reply: _Reply, said: str) -> _Answer:
        """The JSON of a success; raises for everything else below 500."""
        if reply.status == 304:  # only ever to a question with an etag
            return _Answer(None, unchanged=True)
        if 200 <= reply.status < 300:
            try:
                return _Answer(json.loads(reply.raw), reply.headers.get("etag", ""))
            except (ValueError, RecursionError):
                raise _BrokenAnswerError(f"GitHub's answer ({reply.status}) is not JSON") from None
        if reply.status in _MOVED:
            raise RefusedError(
                reply.status,
                said,
                f"the repository has moved, and {method} does not follow",
                where=self.repository,
                mend="Set [forge] repository to its new name.",
            )
        what, mend = explain(reply.status, said, reply.headers, self.repository, app=self._app)
        raise RefusedError(reply.status, said, what, where=self.repository, mend=mend)


def _api(api_url: str) -> httpx.URL:
    """The API's address. Raises ForgeError unless it is https, or http on this machine: the token goes there."""
    try:
        url = httpx.URL(api_url.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    local = url.host in {"127.0.0.1", "::1", "localhost"}
    if not url.host or url.userinfo or url.query or not (url.scheme == "https" or (url.scheme == "http" and local)):
        raise ForgeError(
            "not an address that a token may be sent to",
            where="forge.api_url",
            mend="Use https://api.github.com or https://your.server/api/v3.",
        )
    return url


def _transport(api: httpx.URL) -> httpx.AsyncBaseTransport:
    """Connections as the environment wants them: httpx ignores HTTPS_PROXY for a transport that is given to it."""
    proxy = None
    if not urllib.request.proxy_bypass(api.host):
        proxy = urllib.request.getproxies().get(api.scheme)
    try:
        return httpx.AsyncHTTPTransport(proxy=proxy, http2=False)
    except (ValueError, ImportError, httpx.InvalidURL):
        # The value may hold a password, so it is not repeated here.
        raise ForgeError(
            "the proxy cannot be used", where=f"{api.scheme.upper()}_PROXY", mend="Use an http:// or https:// proxy."
        ) from None
