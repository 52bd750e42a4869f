"""Never merge: no request but the allowed ones can leave, whatever is called."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import auto_dev.forge
from auto_dev.errors import ForgeError
from auto_dev.forge.github_requests import ALLOWED, APP_ALLOWED, GuardedTransport, refusal

pytestmark = pytest.mark.unit

REPOSITORY = "owner/name"
DRAFT = {"title": "t", "head": "b", "base": "main", "body": "x", "draft": True}


def sent(method: str, target: str, body: Any = None, *, prefix: str = "") -> bool:
    raw = b"" if body is None else json.dumps(body).encode()
    return refusal(method, target, raw, prefix=prefix, repository=REPOSITORY) == ""


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/repos/owner/name", None),
        ("GET", "/repos/owner/name/pulls?head=owner%3Ab&state=all", None),
        ("POST", "/repos/owner/name/pulls", DRAFT),
        ("GET", "/repos/owner/name/pulls/7", None),
        ("PATCH", "/repos/owner/name/pulls/7", {"title": "t", "body": "b", "base": "main"}),
        ("GET", "/repos/owner/name/labels/a%2Fb", None),
        ("POST", "/repos/owner/name/labels", {"name": "x", "color": "ffffff"}),
        ("POST", "/repos/owner/name/issues/7/labels", {"labels": ["x"]}),
        ("GET", "/repositories/99/pulls/7", None),
        ("GET", "/repos/owner/name/pulls/7/reviews?per_page=100", None),
        ("GET", "/repos/owner/name/issues/7/comments?since=x", None),
        ("GET", f"/repos/owner/name/commits/{'a' * 40}/check-runs", None),
        ("GET", "/repos/owner/name/branches/release%2F1.x", None),
        ("POST", "/repos/owner/name/issues/7/comments", {"body": "done\n\n<!-- auto-dev comment=k -->"}),
    ],
)
def test_the_requests_that_are_needed_pass(method: str, target: str, body: Any) -> None:
    assert sent(method, target, body)
    assert sent(method, f"/api/v3{target}", body, prefix="/api/v3")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", "/repos/owner/name/pulls/7/merge", {}),
        ("POST", "/repos/owner/name/issues/7/comments", {"body": "without a mark"}),
        ("POST", "/repos/owner/name/issues/7/comments", {"body": ["<!-- auto-dev comment=k -->"]}),
        ("POST", "/repos/owner/name/issues/7/comments", {"body": "<!-- auto-dev comment=k -->", "more": 1}),
        ("PATCH", "/repos/owner/name/issues/comments/7", {"body": "<!-- auto-dev comment=k -->"}),
        ("DELETE", "/repos/owner/name/issues/comments/7", None),
        ("POST", "/repos/owner/name/pulls/7/comments", {"body": "<!-- auto-dev comment=k -->"}),
        ("POST", f"/repos/owner/name/statuses/{'a' * 40}", {"state": "success"}),
        ("POST", "/repos/owner/name/check-runs", {"name": "x", "head_sha": "a" * 40}),
        ("GET", "/repos/owner/name/commits/main/check-runs", None),
        (
            "POST",
            "/app/installations/7/access_tokens",
            {"repositories": ["name"], "permissions": {"contents": "write"}},
        ),
        ("POST", "/repos/owner/name/pulls/7/merge", {}),
        ("POST", "/repos/owner/name/merges", {"base": "main", "head": "b"}),
        ("POST", "/repos/owner/name/merge-upstream", {"branch": "main"}),
        ("PUT", "/repos/owner/name/pulls/7/update-branch", {}),
        ("POST", "/repos/owner/name/pulls/7/reviews", {"event": "APPROVE"}),
        ("PATCH", "/repos/owner/name/git/refs/heads/main", {"sha": "x", "force": True}),
        ("PUT", "/repos/owner/name/contents/a", {}),
        ("POST", "/graphql", {"query": "mutation { markPullRequestReadyForReview }"}),
        ("DELETE", "/repos/owner/name", None),
        ("DELETE", "/repos/owner/name/labels/x", None),
        ("PATCH", "/repos/owner/name", {"default_branch": "b"}),
        ("PUT", "/repos/owner/name/issues/7/labels", {"labels": ["x"]}),
        ("PATCH", "/repositories/99/pulls/7", {"title": "t"}),
        ("POST", "/repos/owner/name/pulls", {**DRAFT, "draft": False}),
        ("POST", "/repos/owner/name/pulls", {**DRAFT, "draft": 1}),
        ("POST", "/repos/owner/name/pulls", {k: v for k, v in DRAFT.items() if k != "draft"}),
        ("POST", "/repos/owner/name/pulls", {**DRAFT, "maintainer_can_modify": True}),
        ("POST", "/repos/owner/name/pulls", None),
        ("PATCH", "/repos/owner/name/pulls/7", {"state": "closed"}),
        ("PATCH", "/repos/owner/name/pulls/7", {"title": "t", "draft": False}),
        ("PATCH", "/repos/owner/name/pulls/7", {}),
        ("PATCH", "/repos/owner/name/pulls/7?state=closed", {"title": "t"}),
        ("PATCH", "/repos/owner/other/pulls/7", {"title": "t"}),
        ("POST", "/repos/owner/../pulls", DRAFT),
        ("GET", "/repos/owner/name/labels/..", None),
        ("GET", "/repos/owner/name/labels/%2e%2e", None),
        ("GET", "/repos/owner/name/pulls/0", None),
        ("GET", "/repos/owner/name/pulls/7/merge", None),
        ("GET", "/repos/owner/name/pulls/7", {"a": 1}),
        ("GET", "/repos/owner/name/", None),
        ("get", "/repos/owner/name", None),
    ],
)
def test_every_other_request_is_refused(method: str, target: str, body: Any) -> None:
    assert not sent(method, target, body)
    assert not sent(method, f"/api/v3{target}", body, prefix="/api/v3")


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b"{", b'{"title": "a", "state": "closed", "state": "open"}', b"\xff"]
)
def test_a_body_that_is_not_a_plain_object_is_refused(raw: bytes) -> None:
    assert refusal("PATCH", "/repos/owner/name/pulls/7", raw, prefix="", repository=REPOSITORY)


def test_a_key_that_stands_twice_cannot_smuggle_a_ready_pull_request() -> None:
    raw = json.dumps(DRAFT)[:-1] + ', "draft": true}'
    assert refusal("POST", "/repos/owner/name/pulls", raw.encode(), prefix="", repository=REPOSITORY)


segments = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "repos",
                "owner",
                "name",
                "pulls",
                "7",
                "merge",
                "merges",
                "issues",
                "labels",
                "x",
                "git",
                "refs",
                "..",
                "",
            ]
        ),
        st.text("abc/%2eE.?#:", max_size=6),
    ),
    max_size=8,
)
bodies = st.dictionaries(
    st.sampled_from(["title", "head", "base", "body", "draft", "state", "labels", "name", "merge_method", "sha"]),
    st.one_of(st.booleans(), st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2), st.none()),
)


@given(st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE", "MERGE", "OPTIONS"]), segments, st.none() | bodies)
def test_nothing_that_passes_can_merge_or_leave_draft(method: str, parts: list[str], body: Any) -> None:
    target = "/" + "/".join(parts)
    if not sent(method, target, body):
        return
    assert method in {"GET", "POST", "PATCH"}
    assert "merge" not in target.split("?")[0]
    if method != "GET":
        assert target.startswith("/repos/owner/name/")
        assert not set(body) & {"state", "merge_method", "sha"}
        assert body.get("draft", True) is True


async def test_the_guard_holds_whatever_is_called_above_it() -> None:
    reached: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        reached.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json={})

    api = httpx.URL("https://api.example")
    guard = GuardedTransport(httpx.MockTransport(answer), api, REPOSITORY)
    async with httpx.AsyncClient(transport=guard, follow_redirects=True) as client:
        for method, url in (
            ("PUT", "https://api.example/repos/owner/name/pulls/1/merge"),
            ("GET", "https://elsewhere.example/repos/owner/name"),
            ("GET", "http://api.example/repos/owner/name"),
            ("GET", "https://api.example:8443/repos/owner/name"),
        ):
            with pytest.raises(ForgeError, match="was not sent"):
                await client.request(method, url)
        await client.get("https://api.example/repos/owner/name")
    assert reached == ["GET /repos/owner/name"]


def test_the_list_names_no_merge_and_writes_only_to_pull_requests_and_labels() -> None:
    writes = sorted(f"{method} {path.split('{repo}')[1]}" for method, path in ALLOWED if method != "GET")
    assert writes == [
        "PATCH /pulls/{number}",
        "POST /issues/{number}/comments",
        "POST /issues/{number}/labels",
        "POST /labels",
        "POST /pulls",
    ]


def test_the_package_knows_no_way_to_merge() -> None:
    """Outside the stand-in, where a person's merge is played, no request path or GraphQL name for it is written."""
    package = Path(auto_dev.forge.__file__).parent
    for file in package.glob("*.py"):
        if not file.name.startswith("standin"):
            found = re.findall(
                r"/merge|merges\b|graphql|ReadyForReview|mergePullRequest|\"PUT\"", file.read_text("utf-8")
            )
            assert not found, file.name


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"repositories": ["name"], "permissions": {"contents": "write", "checks": "read"}}, True),
        ({"repositories": ["name"], "permissions": {"contents": "read"}}, True),
        ({"repositories": ["name"], "permissions": {"checks": "write"}}, False),
        ({"repositories": ["name"], "permissions": {"administration": "read"}}, False),
        ({"repositories": ["name", "other"], "permissions": {"contents": "write"}}, False),
        ({"repositories": ["other"], "permissions": {"contents": "write"}}, False),
        ({"repositories": ["name"], "permissions": {}}, False),
        ({"repositories": ["name"]}, False),
        ({"permissions": {"contents": "write"}}, False),
        ({}, False),
    ],
)
def test_an_app_asks_for_no_more_than_one_repository_and_what_is_needed(body: Any, sent: bool) -> None:
    path = "/app/installations/7/access_tokens"
    raw = json.dumps(body).encode()
    assert (refusal("POST", path, raw, prefix="", repository=REPOSITORY, allowed=APP_ALLOWED) == "") is sent


def test_an_app_does_nothing_else() -> None:
    assert sorted(f"{method} {path}" for method, path in APP_ALLOWED if method != "GET") == [
        "POST /app/installations/{number}/access_tokens"
    ]
    assert refusal("DELETE", "/app/installations/7", b"", prefix="", repository=REPOSITORY, allowed=APP_ALLOWED)
    assert refusal("GET", "/repos/owner/other/installation", b"", prefix="", repository=REPOSITORY) != ""
