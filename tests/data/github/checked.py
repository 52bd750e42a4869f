"""An httpx transport that holds every request, and every answer, against GitHub's published OpenAPI description."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
from openapi_core import OpenAPI
from openapi_core.templating.responses.exceptions import ResponseNotFound
from openapi_core.testing.requests import MockRequest
from openapi_core.testing.responses import MockResponse

DESCRIPTION = Path(__file__).with_name("api.github.com.trimmed.json")
Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


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
    """Raises where a request or a described answer does not fit; ``seen`` counts both.

    ``answers=False`` leaves answers alone, for tests that break them on purpose.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, prefix: str = "", answers: bool = True) -> None:
        self.inner = inner
        self.seen: list[tuple[str, str, int]] = []
        self._prefix = prefix
        self._answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        # Where redirects lead is not a published path.
        if not request.url.path.removeprefix(self._prefix).startswith("/repositories/"):
            description().validate_request(described(request, self._prefix))
        response = await self.inner.handle_async_request(request)
        self.seen.append((request.method, request.url.path, response.status_code))
        if not self._answers or response.status_code == 304:
            return response
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
