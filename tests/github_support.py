"""GitHub in tests: every request, and every answer, is held against GitHub's published OpenAPI description."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.responses.exceptions import ResponseNotFound
from openapi_core.testing.requests import MockRequest
from openapi_core.testing.responses import MockResponse

from auto_dev.forge.credentials import Credentials, StaticToken
from auto_dev.forge.github import GitHubForge
from auto_dev.forge.github_client import Patience
from auto_dev.forge.standin import StandIn

DESCRIPTION = Path(__file__).parent / "data" / "github" / "api.github.com.trimmed.json"
TOKEN = "ghp_canary0123456789"
NOW = datetime(2026, 2, 9, 12, 0, 0, tzinfo=UTC)


class Clock:
    """A time that only moves when told."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float = 60) -> None:
        self.now += timedelta(seconds=seconds)


class Slept(list[float]):
    """The pauses that were asked for; none is taken."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


@functools.cache
def description() -> OpenAPI:
    return OpenAPI.from_dict(json.loads(DESCRIPTION.read_text("utf-8")))


def described(request: httpx.Request, prefix: str = "") -> MockRequest:
    path, _, query = request.url.raw_path.decode().partition("?")
    return MockRequest(
        "https://api.github.com",
        request.method,
        path.removeprefix(prefix),
        args=dict(parse_qsl(query)),
        headers=dict(request.headers),
        data=request.content,
        content_type=request.headers.get("content-type", ""),
    )


class CheckedTransport(httpx.AsyncBaseTransport):
    """Raises where a request has no operation or does not fit it, or an answer does not fit; ``broken`` keeps those.

    ``seen`` has all that went through; ``answers=False`` leaves answers alone, for tests that break them on purpose.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, prefix: str = "", answers: bool = True) -> None:
        self.inner = inner
        self.seen: list[tuple[str, str, int]] = []
        self.broken: list[str] = []
        self._prefix = prefix
        self._answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        try:
            # Where redirects lead is not a published path.
            if not request.url.path.removeprefix(self._prefix).startswith("/repositories/"):
                description().validate_request(described(request, self._prefix))
            response = await self.inner.handle_async_request(request)
            self.seen.append((request.method, request.url.path, response.status_code))
            if not self._answers or response.status_code == 304:
                return response
            return await self._checked(request, response)
        except OpenAPIError as error:
            self.broken.append(f"{request.method} {request.url.path}: …{str(error)[-400:]}")
            raise

    async def _checked(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        raw = await response.aread()
        await response.aclose()
        answer = MockResponse(raw, response.status_code, dict(response.headers), "application/json")
        try:
            description().validate_response(described(request, self._prefix), answer)
        except ResponseNotFound:
            if response.status_code < 400:  # refusals such as 401 are left out of many paths
                raise
        gone = {b"transfer-encoding", b"content-encoding"}
        headers = [(key, value) for key, value in response.headers.raw if key.lower() not in gone]
        return httpx.Response(response.status_code, headers=headers, content=raw, request=request)

    async def aclose(self) -> None:
        await self.inner.aclose()


class InProcess(httpx.AsyncBaseTransport):
    """The stand-in without a socket."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode()
        raw = await request.aread()
        status, value = self._standin.answer(request.method, target, request.headers["authorization"], raw)
        return httpx.Response(status, json=value)


def github(
    url: str,
    transport: httpx.AsyncBaseTransport,
    *,
    slept: Slept | None = None,
    clock: Callable[[], datetime] = lambda: NOW,
    credentials: Credentials | None = None,
    repository: str = "owner/name",
    jitter: float = 1.0,
    **patience: Any,
) -> GitHubForge:
    """The adapter, without any pause."""
    return GitHubForge(
        repository,
        credentials or StaticToken(TOKEN),
        url,
        transport=transport,
        clock=clock,
        sleep=slept if slept is not None else Slept(),
        jitter=lambda: jitter,
        patience=Patience(**patience),
    )
