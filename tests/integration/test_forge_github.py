"""The GitHub adapter against the local stand-in; every request and answer is held against GitHub's description."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from auto_dev.config import ForgeConfig
from auto_dev.errors import ForgeError
from auto_dev.forge import make_credentials, make_forge
from auto_dev.forge.base import DraftSpec, ForgeUnavailableError
from auto_dev.forge.body import marker
from auto_dev.forge.credentials import StaticToken
from auto_dev.forge.github import GitHubForge
from auto_dev.forge.marks import BEGIN, Marker, read_marker, with_title
from auto_dev.forge.standin import StandIn
from auto_dev.model import PullState
from tests.github_support import NOW, TOKEN, CheckedTransport, Slept, github

pytestmark = pytest.mark.integration

SPEC = DraftSpec("auto-dev/A-1", "main", "A-1: title", f"words\n\n{marker('A-1', 'r1')}\n", ("auto-dev",))
OURS = DraftSpec("auto-dev/A-1", "main", "A-1: title", f"{BEGIN}\n\nwords\n\n{marker('A-1', 'r1')}\n", ("auto-dev",))
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path / "forge.json", repository="owner/name", token=TOKEN) as running:
        yield running


@pytest.fixture
async def forge(standin: StandIn, to_github: CheckedTransport) -> AsyncIterator[GitHubForge]:
    adapter = github(standin.url, to_github)
    yield adapter
    await adapter.close()


def answering(answer: Answer, slept: Slept | None = None, **patience: Any) -> GitHubForge:
    """An adapter whose requests are checked and then answered by ``answer``."""
    checked = CheckedTransport(httpx.MockTransport(answer), prefix="/api/v3", answers=False)
    return github("https://ghe.example/api/v3", checked, slept=slept, **patience)


async def test_a_draft_is_made_once_with_its_label(standin: StandIn, forge: GitHubForge) -> None:
    first = await forge.ensure_draft(SPEC)
    again = await forge.ensure_draft(SPEC)
    assert first == again
    assert (first.number, first.state, first.branch, first.base) == (1, PullState.DRAFT, "auto-dev/A-1", "main")
    assert first.url == standin.page(1)
    [stored] = standin.pulls()
    assert (stored["draft"], stored["labels"]) == (True, ["auto-dev"])
    writes = [(each["method"], each["path"].removeprefix("/repos/owner/name")) for each in standin.changes()]
    assert writes == [("POST", "/pulls"), ("POST", "/labels"), ("POST", "/issues/1/labels")]


async def test_a_second_run_changes_the_same_draft(standin: StandIn, forge: GitHubForge) -> None:
    await forge.ensure_draft(SPEC)
    second = DraftSpec(
        SPEC.branch, "auto-dev/A-0", "A-1: new", f"new\n\n{marker('A-1', 'r2')}\n", ("auto-dev", "b/ä 🎉")
    )
    pull = await forge.ensure_draft(second)
    assert (pull.number, pull.base, pull.state) == (1, "auto-dev/A-0", PullState.DRAFT)
    [stored] = standin.pulls()
    assert (stored["title"], stored["body"].strip()) == ("A-1: new", with_title(second.body, "A-1: new").strip())
    assert stored["labels"] == ["auto-dev", "b/ä 🎉"]


async def test_two_at_the_same_time_make_one(standin: StandIn, forge: GitHubForge) -> None:
    import asyncio

    pulls = await asyncio.gather(*(forge.ensure_draft(SPEC) for _ in range(8)))
    assert {pull.number for pull in pulls} == {1}
    assert len(standin.pulls()) == 1


async def test_branches_with_any_signs_stay_apart(standin: StandIn, forge: GitHubForge) -> None:
    branches = [
        "auto-dev/a b",
        "auto-dev/a+b",
        "auto-dev/a&state=closed",
        "auto-dev/ü#1",
        "auto-dev/a%20b",
    ]
    pulls = [await forge.ensure_draft(DraftSpec(branch, "main", "t", "b")) for branch in branches]
    assert [pull.branch for pull in pulls] == branches
    assert [await forge.ensure_draft(DraftSpec(branch, "main", "t", "b")) for branch in branches] == pulls


async def test_a_pull_request_that_a_person_made_ready_stays_so(standin: StandIn, forge: GitHubForge) -> None:
    await forge.ensure_draft(SPEC)
    standin.act(1, "ready")
    assert (await forge.ensure_draft(SPEC)).state is PullState.OPEN
    assert (await forge.get(1)).state is PullState.OPEN


@pytest.mark.parametrize(("what", "state"), [("merged", PullState.MERGED), ("closed", PullState.CLOSED)])
async def test_what_a_person_ended_is_not_opened_again_by_the_same_run(
    standin: StandIn, forge: GitHubForge, what: Any, state: PullState
) -> None:
    await forge.ensure_draft(SPEC)
    standin.act(1, what)
    changes = len(standin.changes())
    repeated = DraftSpec(SPEC.branch, "elsewhere", "A-1: other words", f"other\n\n{marker('A-1', 'r1')}\n", ("new",))
    assert (await forge.ensure_draft(repeated)).state is state
    assert (await forge.retarget(1, "elsewhere")).base == "main"
    assert len(standin.changes()) == changes


async def test_a_later_run_opens_a_new_draft_after_one_was_closed(standin: StandIn, forge: GitHubForge) -> None:
    await forge.ensure_draft(SPEC)
    standin.act(1, "closed")
    later = DraftSpec(SPEC.branch, SPEC.base, SPEC.title, f"words\n\n{marker('A-1', 'r2')}\n")
    assert (await forge.ensure_draft(later)).number == 2
    assert (await forge.ensure_draft(later)).number == 2


async def test_a_dependent_moves_to_the_base_once(standin: StandIn, forge: GitHubForge) -> None:
    await forge.ensure_draft(DraftSpec("auto-dev/A-2", "auto-dev/A-1", "t", "b"))
    assert (await forge.retarget(1, "main")).base == "main"
    assert (await forge.retarget(1, "main")).base == "main"
    assert [each["method"] for each in standin.changes()].count("PATCH") == 1


async def test_a_body_that_is_too_long_is_cut(standin: StandIn, forge: GitHubForge) -> None:
    body = "a line of words\n" * 6_000 + f"\n{marker('A-1', 'r1')}\n"
    await forge.ensure_draft(DraftSpec("auto-dev/A-1", "main", "x" * 1_000, body))
    await forge.ensure_draft(DraftSpec("auto-dev/A-1", "main", "x" * 1_000, body))
    [stored] = standin.pulls()
    assert len(stored["body"]) <= 65_536
    assert "The rest is left out" in stored["body"]
    assert read_marker(stored["body"]) == Marker("A-1", "r1")
    assert not [each for each in standin.changes() if each["method"] == "PATCH"]


async def test_refusals_are_one_clear_line(standin: StandIn, to_github: CheckedTransport) -> None:
    for repository, token, text in (
        ("owner/name", "wrong", "owner/name: GitHub does not accept the token (Bad credentials). Set GITHUB_TOKEN"),
        ("owner/else", TOKEN, "owner/else: the token cannot see owner/else"),
    ):
        adapter = GitHubForge(repository, StaticToken(token), standin.url, transport=to_github, clock=lambda: NOW)
        with pytest.raises(ForgeError) as caught:
            await adapter.ensure_draft(SPEC)
        assert str(caught.value).startswith(text)
        assert "\n" not in str(caught.value)


async def test_the_checks_on_requests_and_answers_can_fail(standin: StandIn) -> None:
    """The description would catch a request or an answer of another shape."""
    checked = CheckedTransport(httpx.AsyncHTTPTransport())
    async with httpx.AsyncClient(transport=checked, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        url = f"{standin.url}/repos/owner/name/pulls"
        with pytest.raises(Exception, match="Request body validation error"):
            await client.post(url, json={"title": "t", "head": "h", "draft": True})
        with pytest.raises(Exception, match="state"):
            await client.get(url, params={"state": "merged"})
        with pytest.raises(Exception, match="Path not found"):
            await client.put(f"{url}/1/merge", json={})
    assert len(checked.broken) == 3
    broken = CheckedTransport(httpx.MockTransport(lambda _: httpx.Response(200, json=[{"number": 1}])))
    async with httpx.AsyncClient(transport=broken) as client:
        with pytest.raises(Exception, match="Invalid"):
            await client.get(url)


async def test_every_page_is_read() -> None:
    pages: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        pages.append(request.url.params["page"])
        count = 100 if page < 3 else 5
        return httpx.Response(200, json=[described(1000 - 100 * page - n, state="closed") for n in range(count)])

    adapter = answering(lambda r: answer(r) if r.method == "GET" else httpx.Response(201, json=described(2000)))
    assert (await adapter.ensure_draft(DraftSpec("auto-dev/A-1", "main", "t", "words"))).number == 2000
    assert pages == ["1", "2", "3"]


def described(number: int, **changes: Any) -> dict[str, Any]:
    """A pull request with the fields that are read."""
    return {
        "number": number,
        "html_url": f"https://ghe.example/owner/name/pull/{number}",
        "state": "open",
        "title": "t",
        "body": "words",
        "draft": True,
        "labels": [],
        "head": {"ref": "auto-dev/A-1", "sha": "a" * 40, "repo": {"full_name": "owner/name"}},
        "base": {"ref": "main", "sha": "b" * 40, "repo": {"full_name": "owner/name"}},
        **changes,
    }


async def test_pull_requests_of_other_branches_and_forks_are_not_ours() -> None:
    """GitHub ignores a head filter that it cannot read, and a fork may have a branch of the same name."""
    others = [
        described(3, head={"ref": "auto-dev/A-2", "repo": {"full_name": "owner/name"}}),
        described(2, head={"ref": "auto-dev/A-1", "repo": {"full_name": "stranger/name"}}),
        described(1, head={"ref": "auto-dev/A-1", "repo": None}),
    ]
    made = httpx.Response(201, json=described(4))
    adapter = answering(lambda r: httpx.Response(200, json=others) if r.method == "GET" else made)
    assert (await adapter.ensure_draft(DraftSpec("auto-dev/A-1", "main", "t", "words"))).number == 4


async def test_a_repository_without_drafts_gets_no_pull_request_at_all() -> None:
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=[])
        sent.append(json.loads(request.content))
        return httpx.Response(422, json={"message": "Draft pull requests are not supported in this repository."})

    with pytest.raises(ForgeError, match="cannot have draft pull requests, and auto-dev makes no other"):
        await answering(answer).ensure_draft(SPEC)
    assert [body["draft"] for body in sent] == [True]


async def test_a_server_that_ignores_draft_is_an_error() -> None:
    made = httpx.Response(201, json=described(4, draft=False))
    adapter = answering(lambda r: httpx.Response(200, json=[]) if r.method == "GET" else made)
    with pytest.raises(ForgeError, match="made pull request 4 an ordinary one"):
        await adapter.ensure_draft(SPEC)


async def test_a_renamed_repository_is_read_through_but_not_written_to() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v3")
        if path.startswith("/repositories/42/pulls"):
            return httpx.Response(200, json=described(7) if path.endswith("/7") else [])
        place = f"https://ghe.example/api/v3/repositories/42{path.removeprefix('/repos/owner/name')}"
        status = 301 if request.method == "GET" else 307
        return httpx.Response(status, headers={"location": place}, json={"message": "Moved Permanently"})

    adapter = answering(answer)
    assert (await adapter.get(7)).number == 7
    with pytest.raises(ForgeError, match=r"has moved, and POST does not follow.*Set \[forge\] repository"):
        await adapter.ensure_draft(SPEC)


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/repositories/1/pulls/7",
        "http://ghe.example/api/v3/repositories/1/pulls/7",
        "/login",
        "//x/y",
    ],
)
async def test_a_redirect_elsewhere_is_not_followed_and_takes_no_token_along(place: str) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(302, headers={"location": place})

    with pytest.raises(ForgeError, match="was not sent"):
        await answering(answer).get(7)
    assert len(asked) == 1


async def test_redirects_in_a_circle_end() -> None:
    place = "https://ghe.example/api/v3/repositories/1/pulls/7"
    with pytest.raises(ForgeError, match="redirects more than 3 times"):
        await answering(lambda _: httpx.Response(301, headers={"location": place})).get(7)


async def test_headers_are_as_github_asks() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=described(7))

    await answering(answer).get(7)
    headers = asked[0].headers
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["user-agent"].startswith("auto-dev/")
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert str(asked[0].url) == "https://ghe.example/api/v3/repos/owner/name/pulls/7"


async def test_the_token_is_in_no_error_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        lambda _: httpx.Response(403, json={"message": f"Bearer {TOKEN} is not allowed"}),
        lambda _: httpx.Response(500, json={"message": TOKEN}),
        lambda _: httpx.Response(200, text=TOKEN),
        lambda _: httpx.Response(200, json={"number": TOKEN}),
        lambda _: httpx.Response(429, headers={"retry-after": "99999"}, json={"message": TOKEN}),
    ]
    for answer in answers:
        adapter = answering(answer)
        with pytest.raises(ForgeError) as caught:
            await adapter.get(7)
        error: BaseException | None = caught.value
        while error is not None:
            assert TOKEN not in f"{error} {error!r} {vars(error)}"
            error = error.__cause__ or error.__context__
        assert TOKEN not in f"{adapter!r} {vars(adapter)} {vars(adapter._client)} {adapter._client._http.headers}"
    assert TOKEN not in caplog.text


async def test_a_short_limit_is_waited_for_and_a_long_one_says_when_it_resets() -> None:
    slept = Slept()
    answers = [
        httpx.Response(429, headers={"retry-after": "20"}, json={"message": "slow down"}),
        httpx.Response(200, json=described(7)),
    ]
    assert (await answering(lambda _: answers.pop(0), slept).get(7)).number == 7
    assert slept == [20.0]

    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 1799)}
    with pytest.raises(ForgeUnavailableError, match="resets at 2026-02-09 12:30:00 UTC") as caught:
        await answering(lambda _: httpx.Response(403, headers=reset, json={}), slept).get(7)
    assert caught.value.resume_at == datetime(2026, 2, 9, 12, 30, tzinfo=UTC)
    assert slept == [20.0]


async def test_a_limit_that_never_ends_is_given_up_with_growing_pauses() -> None:
    slept = Slept()
    adapter = answering(lambda _: httpx.Response(403, headers={"retry-after": "5"}, json={"message": "m"}), slept)
    with pytest.raises(ForgeUnavailableError, match="rate limit is used up"):
        await adapter.ensure_draft(SPEC)
    assert slept == [5.0, 10.0, 20.0]


async def test_a_limited_create_is_repeated_since_it_changed_nothing(
    standin: StandIn, to_github: CheckedTransport
) -> None:
    limited = [httpx.Response(403, headers={"retry-after": "3"}, json={"message": "secondary rate limit"})]

    class Limit(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and limited:
                return limited.pop()
            response: httpx.Response = await to_github.handle_async_request(request)
            return response

    slept = Slept()
    assert (await github(standin.url, Limit(), slept=slept).ensure_draft(SPEC)).number == 1
    assert slept == [3.0]
    assert len(standin.pulls()) == 1


async def test_nonsense_is_refused_before_anything_is_sent(forge: GitHubForge, to_github: CheckedTransport) -> None:
    for branch, base in (("", "main"), ("x", ""), ("main", "main"), ("fork:x", "main")):
        with pytest.raises(ForgeError, match="needs two branches"):
            await forge.ensure_draft(DraftSpec(branch, base, "t", "b"))
    for number in (0, -1):
        with pytest.raises(ForgeError, match="no pull request"):
            await forge.get(number)
    assert to_github.seen == []


async def test_the_configuration_chooses_the_forge(
    standin: StandIn, tmp_path: Path, to_github: CheckedTransport
) -> None:
    config = ForgeConfig(kind="github", repository="owner/name", api_url=standin.url)
    credentials = make_credentials(config, lambda _: f" {TOKEN}\n", clock=lambda: NOW)
    adapter = make_forge(config, credentials, tmp_path, to_github)
    assert (adapter.name, (await adapter.ensure_draft(SPEC)).number) == ("github", 1)
    await adapter.close()
    for token in (None, "", " \n"):
        with pytest.raises(ForgeError, match=r"GITHUB_TOKEN: no GitHub token\. Set GITHUB_TOKEN"):
            make_credentials(config, lambda _, token=token: token, clock=lambda: NOW)  # type: ignore[misc]
    with pytest.raises(ForgeError, match="no credentials"):
        make_forge(config, None, tmp_path)
    assert make_credentials(ForgeConfig(), lambda _: TOKEN, clock=lambda: NOW) is None
    assert make_forge(ForgeConfig(), None, tmp_path).name == "none"


async def test_what_a_person_wrote_and_set_survives_a_second_run(standin: StandIn, forge: GitHubForge) -> None:
    await forge.ensure_draft(OURS)
    standin.act(1, "ready")
    [stored] = standin.pulls()
    edited = f"Reviewed with Kim.\n\n{stored['body']}\n- [x] tried it".replace("\n", "\r\n")
    standin.state.patch(1, {"title": "Due dates, at last", "body": edited})
    standin.state.add_labels(1, {"labels": ["needs-kim"]})
    second = DraftSpec(
        OURS.branch, "main", "A-1: title", OURS.body.replace("words", "newer").replace("r1", "r2"), ("x",)
    )
    pull = await forge.ensure_draft(second)
    assert (pull.number, pull.state, pull.title) == (1, PullState.OPEN, "Due dates, at last")
    [stored] = standin.pulls()
    body = stored["body"].replace("\r\n", "\n")
    assert body.startswith(f"Reviewed with Kim.\n\n{BEGIN}\n")
    assert body.endswith("\n\n- [x] tried it")
    assert ("words" in body, "newer" in body) == (False, True)
    assert (stored["title"], stored["labels"]) == ("Due dates, at last", ["auto-dev", "needs-kim", "x"])
    changes = len(standin.changes())
    await forge.ensure_draft(second)
    assert len(standin.changes()) == changes


async def test_a_title_that_nobody_touched_follows_the_story(standin: StandIn, forge: GitHubForge) -> None:
    await forge.ensure_draft(OURS)
    for title in ("A-1: fixes #\u200b12", "A-1: another"):
        await forge.ensure_draft(DraftSpec(OURS.branch, "main", title, OURS.body))
        [stored] = standin.pulls()
        assert stored["title"] == title
        standin.state.patch(1, {"title": title.replace("\u200b", "")})  # a server that leaves such characters out
    assert len(standin.pulls()) == 1


async def test_doctor_reads_what_a_token_may_do() -> None:
    repository = {"full_name": "owner/name", "default_branch": "main", "permissions": {"push": True}}

    def answers(**more: Any) -> GitHubForge:
        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.path.removeprefix("/api/v3/repos/owner/name")
            if path == "":
                return httpx.Response(200, json=repository | more)
            if path == "/branches/main":
                return httpx.Response(200, json={"commit": {"sha": "a" * 40}, "protected": True})
            if path.startswith("/branches/"):
                return httpx.Response(404, json={"message": "Branch not found"})
            refused = path.endswith("check-runs")
            named = {"x-accepted-github-permissions": "checks=read"}
            return httpx.Response(403 if refused else 200, headers=named, json={"message": "not accessible"})

        return answering(answer)

    async def said(forge: GitHubForge, branch: str = "main") -> list[str]:
        return [f"{each.level}: {each.text}" for each in await forge.examine(branch)]

    found = await said(answers())
    assert found[0] == "ok: owner/name can be read and pushed to; its default branch is main"
    assert found[1].startswith("ok: main is protected; its rules must let branches auto-dev/* be pushed")
    assert found[2].startswith("warning: checks cannot be read")
    assert (await said(answers(), "release/1"))[-1].startswith("error: there is no branch 'release/1' on GitHub")
    assert "may not push" in (await said(answers(permissions={"push": False})))[0]
    assert "is now owner/renamed" in (await said(answers(full_name="owner/renamed")))[0]
    assert "is archived" in (await said(answers(archived=True)))[0]
    assert "not what it publishes" in (await said(answers(default_branch=None)))[0]
    away = answering(lambda _: httpx.Response(502), attempts=1)
    assert (await said(away))[0].startswith("warning: owner/name: GitHub answered 502")
