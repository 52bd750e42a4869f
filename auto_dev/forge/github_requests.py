"""The requests that auto-dev may send to GitHub, and no others: pure, and enforced below everything else.

The guard sits in the HTTP transport. Whatever is called above it, a request that is not on this list is not sent:
no merge, no review, no push, no leaving draft, no other repository.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import httpx

from auto_dev.errors import ForgeError

Check = Callable[[Mapping[str, Any], str], bool]  # a JSON body, and the repository as "owner/name"


def _creates_a_draft(body: Mapping[str, Any], _repository: str) -> bool:
    return set(body) == {"title", "head", "base", "body", "draft"} and body["draft"] is True


def _only_words_and_base(body: Mapping[str, Any], _repository: str) -> bool:
    return bool(body) and set(body) <= {"title", "body", "base"}


def _a_label(body: Mapping[str, Any], _repository: str) -> bool:
    return "name" in body and set(body) <= {"name", "color", "description"}


def _label_names(body: Mapping[str, Any], _repository: str) -> bool:
    return set(body) == {"labels"} and bool(body["labels"])


def _a_marked_comment(body: Mapping[str, Any], _repository: str) -> bool:
    # Without the mark it could not be found again, and would be made twice.
    return set(body) == {"body"} and isinstance(body["body"], str) and COMMENT_MARK in body["body"]


def _no_more_than_needed(body: Mapping[str, Any], repository: str) -> bool:
    asked = body.get("permissions")
    return (
        set(body) == {"repositories", "permissions"}
        and body["repositories"] == [repository.split("/")[1]]
        and isinstance(asked, dict)
        and bool(asked)
        and all(level in ("read", PERMISSIONS.get(name)) for name, level in asked.items())
        and set(asked) <= set(PERMISSIONS)
    )


# What an App's token is made for, and no more. There is no permission to merge: that takes contents and a person's
# rules for the base branch, and no request here does it.
PERMISSIONS: Final = {
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "read",
    "statuses": "read",
    "metadata": "read",
}
REPOSITORY: Final = "/repos/{owner}/{repo}"
COMMENT_MARK: Final = "<!-- auto-dev comment="
_READ: Final = (
    "",
    "/pulls",
    "/pulls/{number}",
    "/pulls/{number}/comments",
    "/pulls/{number}/reviews",
    "/issues/{number}",
    "/issues/{number}/comments",
    "/commits/{sha}/check-runs",
    "/commits/{sha}/status",
    "/check-runs/{number}/annotations",
    "/labels/{name}",
    "/branches/{name}",
)

# (method, path template) and what its JSON body must be like; None: it has none.
ALLOWED: Final[dict[tuple[str, str], Check | None]] = {
    **{("GET", f"{REPOSITORY}{path}"): None for path in _READ},
    ("POST", f"{REPOSITORY}/pulls"): _creates_a_draft,
    ("PATCH", f"{REPOSITORY}/pulls/{{number}}"): _only_words_and_base,
    ("POST", f"{REPOSITORY}/labels"): _a_label,
    ("POST", f"{REPOSITORY}/issues/{{number}}/labels"): _label_names,
    ("POST", f"{REPOSITORY}/issues/{{number}}/comments"): _a_marked_comment,
    # Where GitHub sends a reader of a renamed repository.
    **{("GET", f"/repositories/{{id}}{path}"): None for path in _READ},
}

# The same for an App, which signs these itself and does nothing else than make tokens.
APP_ALLOWED: Final[dict[tuple[str, str], Check | None]] = {
    ("GET", f"{REPOSITORY}/installation"): None,
    ("GET", "/app/installations/{number}"): None,
    ("POST", "/app/installations/{number}/access_tokens"): _no_more_than_needed,
}

_PARTS = {"owner": r"[A-Za-z0-9._-]+", "repo": r"[A-Za-z0-9._-]+", "number": r"[1-9][0-9]{0,18}"}
_PARTS |= {"id": _PARTS["number"], "name": r"[A-Za-z0-9._~%-]+", "sha": r"[0-9a-f]{40}(?:[0-9a-f]{24})?"}
_HOLE = re.compile(r"\{(\w+)\}")


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_HOLE.sub(lambda hole: f"(?P<{hole[1]}>{_PARTS[hole[1]]})", template))


def refusal(
    method: str,
    target: str,
    body: bytes,
    *,
    prefix: str,
    repository: str,
    allowed: Mapping[tuple[str, str], Check | None] = ALLOWED,
) -> str:
    """Why this request must not be sent, or "".

    ``target`` is the raw path with its query, ``prefix`` the API's own path ("" or "/api/v3"), ``repository`` the only
    one that may be written to, as "owner/name".
    """
    path, _, query = target.partition("?")
    if not path.startswith(f"{prefix}/"):
        return f"{method} {path} lies outside the API"
    path = path[len(prefix) :]
    for (allowed_method, template), check in allowed.items():
        found = _pattern(template).fullmatch(path)
        if method != allowed_method or not found:
            continue
        values = found.groupdict()
        if any(unquote(value) in {".", ".."} for value in values.values()):
            return f"{path} has a path segment that is not a name"
        if method == "GET":
            return "it carries a body" if body else ""
        elsewhere = "owner" in values and f"{values['owner']}/{values['repo']}".lower() != repository.lower()
        if query or elsewhere:
            return f"{method} {path} is not for {repository}"
        return (
            ""
            if check and _json_passes(check, body, repository)
            else f"{method} {path} has a body that auto-dev never sends"
        )
    return f"{method} {path} is not among the requests that auto-dev sends"


def _json_passes(check: Check, body: bytes, repository: str) -> bool:
    try:
        # A key that stands twice could mean one thing here and another to the server.
        value = json.loads(body, object_pairs_hook=_unique)
    except ValueError:
        return False
    return isinstance(value, dict) and check(value, repository)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


class GuardedTransport(httpx.AsyncBaseTransport):
    """Lets through what ``allowed`` names, to one API and one repository; raises ForgeError for all else."""

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        api: httpx.URL,
        repository: str,
        allowed: Mapping[tuple[str, str], Check | None] = ALLOWED,
    ) -> None:
        self._allowed = allowed
        self._inner = inner
        self._api = api
        self._repository = repository

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        why = "" if _origin(url) == _origin(self._api) else f"{url.host} is not the configured forge"
        why = why or refusal(
            request.method,
            url.raw_path.decode("ascii"),
            await request.aread(),
            prefix=self._api.path.rstrip("/"),
            repository=self._repository,
            allowed=self._allowed,
        )
        if why:
            raise ForgeError(f"a request was not sent: {why}", where=self._repository)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
