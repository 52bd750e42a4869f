"""What GitHub's answers mean: limits, refusals, which pull request is meant and what to change in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.errors import ForgeError
from auto_dev.forge.base import DraftSpec
from auto_dev.forge.body import marker
from auto_dev.forge.credentials import StaticToken
from auto_dev.forge.github import GitHubForge, choose, differences
from auto_dev.forge.github_answers import PullAnswer, explain, limit_wait, messages
from auto_dev.model import PullState

pytestmark = pytest.mark.unit

NOW = datetime(2026, 2, 9, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
SPEC = DraftSpec("auto-dev/A-1", "main", "A-1: t", f"text\n\n{marker('A-1', 'r2')}\n")


def pull(number: int = 1, **changes: Any) -> PullAnswer:
    values = {
        "number": number,
        "html_url": f"https://github.com/o/r/pull/{number}",
        "state": "open",
        "title": SPEC.title,
        "body": SPEC.body,
        "draft": True,
        "head": {"ref": SPEC.branch, "sha": "a" * 40, "repo": {"full_name": "o/r"}},
        "base": {"ref": "main", "repo": {"full_name": "o/r"}},
    }
    return PullAnswer.model_validate(values | changes)


@pytest.mark.parametrize(
    ("status", "headers", "message", "wait"),
    [
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH + 30)}, "", 31),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH - 30)}, "", 1),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, "", 60),
        (403, {"retry-after": "7"}, "", 7),
        (403, {"retry-after": "Mon, 09 Feb 2026 12:00:20 GMT"}, "", 20),
        (403, {"retry-after": "nonsense"}, "You have exceeded a secondary rate limit", 60),
        (429, {}, "", 60),
        (403, {}, "Resource not accessible by personal access token", None),
        (403, {"x-ratelimit-remaining": "4999"}, "", None),
        (200, {"x-ratelimit-remaining": "0"}, "", None),
        (503, {"retry-after": "7"}, "", None),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(
    status: int, headers: dict[str, str], message: str, wait: float | None
) -> None:
    assert limit_wait(status, headers, message, NOW) == wait


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_header_makes_the_wait_crash(after: str, reset: str) -> None:
    for headers in (
        {"retry-after": after, "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset},
    ):
        wait = limit_wait(403, headers, "", NOW)
        assert wait is not None
        assert wait >= 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"message": "Bad credentials"}, "Bad credentials"),
        (
            {"message": "Validation Failed", "errors": [{"code": "custom", "message": "No commits"}]},
            "Validation Failed; No commits",
        ),
        (
            {"message": "V", "errors": [{"resource": "PullRequest", "field": "head", "code": "invalid"}]},
            "V; head invalid",
        ),
        ({"message": "V", "errors": ["one", "two", 3, None]}, "V; one; two"),
        ({"message": "V", "errors": "text"}, "V; text"),
        ({"message": 7}, ""),
        (["x"], ""),
    ],
)
def test_a_refusal_is_put_on_one_line(value: Any, text: str) -> None:
    assert messages(json.dumps(value).encode()) == text


@pytest.mark.parametrize("raw", [b"", b"<html><h1>502</h1></html>", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_says_nothing(raw: bytes) -> None:
    assert messages(raw) == ""


@pytest.mark.parametrize(
    ("status", "message", "headers", "what", "mend"),
    [
        (401, "Bad credentials", {}, "does not accept the token", "valid and not expired"),
        (403, "", {"x-github-sso": "required; url=x"}, "single sign-on", "Configure SSO"),
        (403, "Resource not accessible", {}, "may not do this in o/r", "Pull requests: write"),
        (404, "Not Found", {}, "cannot see o/r", "repo scope"),
        (410, "Gone", {}, "switched off", "settings"),
        (422, "Draft pull requests are not supported in this repository.", {}, "cannot have draft", 'kind = "none"'),
        (422, "Validation Failed; No commits between main and x", {}, "nothing that its base", ""),
        (422, "Validation Failed; head invalid", {}, "does not know the branch", "pushed"),
        (422, "Validation Failed; base invalid", {}, "base branch", "base_branch"),
        (418, "", {}, "answered 418", ""),
    ],
)
def test_each_refusal_names_its_mend(status: int, message: str, headers: dict[str, str], what: str, mend: str) -> None:
    said, help_ = explain(status, message, headers, "o/r")
    assert what in said
    assert mend in help_


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, PullState.DRAFT),
        ({"draft": False}, PullState.OPEN),
        ({"state": "closed"}, PullState.CLOSED),
        ({"state": "closed", "merged_at": "2026-02-09T12:00:00Z"}, PullState.MERGED),
    ],
)
def test_the_state_is_read_from_the_answer(changes: dict[str, Any], state: PullState) -> None:
    assert pull(**changes).pull().state is state


def test_an_open_pull_request_is_the_one_that_is_meant() -> None:
    found = [pull(3, state="closed"), pull(2), pull(1, state="closed")]
    assert choose(found, SPEC) == found[1]


def test_of_two_open_ones_the_one_with_the_right_base_is_meant() -> None:
    found = [pull(3, base={"ref": "dev"}), pull(2), pull(1, base={"ref": "dev"})]
    assert choose(found, SPEC) == found[1]


def test_a_closed_one_of_another_run_is_left_and_a_new_one_made() -> None:
    assert choose([pull(1, state="closed", body=marker("A-1", "r1"))], SPEC) is None
    assert choose([pull(1, state="closed", body="a person's")], SPEC) is None
    assert choose([], SPEC) is None


def test_one_of_the_same_run_that_a_person_closed_or_merged_is_not_made_again() -> None:
    closed = pull(1, state="closed", body=f"other words\r\n{marker('A-1', 'r2')}\r\n")
    assert choose([closed], SPEC) == closed


def test_texts_without_markers_do_not_make_a_closed_one_ours() -> None:
    assert choose([pull(1, state="closed", body="text")], DraftSpec("b", "main", "t", "text")) is None


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, set()),
        ({"body": SPEC.body.replace("\n", "\r\n")}, set()),
        ({"body": SPEC.body.rstrip()}, set()),
        ({"title": "other"}, {"title"}),
        ({"body": f"old\n{marker('A-1', 'r1')}"}, {"body"}),
        ({"body": None, "title": "x"}, {"body", "title"}),
        ({"base": {"ref": "dev"}}, {"base"}),
        ({"body": "a person opened this", "title": "mine", "base": {"ref": "dev"}}, {"base"}),
    ],
)
def test_only_what_differs_is_changed_and_never_the_state(changes: dict[str, Any], keys: set[str]) -> None:
    assert set(differences(pull(**changes), SPEC)) == keys


@pytest.mark.parametrize(
    "url",
    [
        "http://api.github.com",
        "ftp://x",
        "",
        "api.github.com",
        "https://user:pw@x",
        "https://x?y=1",
        "http://",
    ],
)
def test_a_token_is_not_sent_to_an_address_that_is_not_safe(url: str) -> None:
    with pytest.raises(ForgeError, match="a token may be sent to"):
        GitHubForge("o/r", StaticToken("secret-token"), url, clock=lambda: NOW)


@pytest.mark.parametrize("token", ["with space", "new\nline", "t\u00f6ken"])
def test_a_token_that_cannot_be_one_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ForgeError, match="no token has") as caught:
        StaticToken(token)
    assert token not in str(caught.value)
