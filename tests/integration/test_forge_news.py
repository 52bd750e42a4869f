"""Looking after open drafts: what is new comes once, whole, cheaply, and nothing else is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from auto_dev.errors import ForgeError
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import Digest, DraftSpec, ForgeUnavailableError, News, RemarkKind, Watched
from auto_dev.forge.body import marker
from auto_dev.forge.github import GitHubForge
from auto_dev.forge.standin import StandIn
from auto_dev.model import PullState
from tests.github_support import TOKEN, CheckedTransport, Clock, github

pytestmark = pytest.mark.integration


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standin(tmp_path: Path, clock: Clock) -> Iterator[StandIn]:
    with StandIn(tmp_path / "forge.json", repository="owner/name", token=TOKEN, clock=clock) as running:
        yield running


@pytest.fixture
async def forge(standin: StandIn, to_github: CheckedTransport, clock: Clock) -> AsyncIterator[GitHubForge]:
    adapter = github(standin.url, to_github, clock=clock)
    yield adapter
    await adapter.close()


@pytest.fixture
def allowance(clock: Clock) -> Allowance:
    return Allowance(1_000, clock)


async def draft(forge: GitHubForge, story: str = "A-1") -> int:
    body = f"words\n\n{marker(story, 'r1')}\n"
    return (await forge.ensure_draft(DraftSpec(f"auto-dev/{story}", "main", f"{story}: title", body))).number


def one(digest: Digest) -> News:
    assert not digest.troubles
    [news] = digest.news
    return news


async def test_everything_that_was_said_comes_once_and_in_order(
    standin: StandIn, forge: GitHubForge, clock: Clock, allowance: Allowance
) -> None:
    number = await draft(forge)
    standin.say(number, "please rename\r\nit", path="src/a.py", line=7, author="ann")
    clock.tick()
    standin.say(number, "not yet", verdict="CHANGES_REQUESTED", author="bob", association="COLLABORATOR")
    clock.tick()
    standin.say(number, "me too", association="NONE", author="stranger")
    news = one(await forge.news([Watched(number)], allowance))
    assert [(r.kind, r.author, r.body, r.by_writer) for r in news.remarks] == [
        (RemarkKind.LINE, "ann", "please rename\nit", True),
        (RemarkKind.REVIEW, "bob", "not yet", True),
        (RemarkKind.COMMENT, "stranger", "me too", False),
    ]
    assert (news.remarks[0].path, news.remarks[0].line, news.remarks[1].verdict) == ("src/a.py", 7, "CHANGES_REQUESTED")
    assert one(await forge.news([Watched(number)], allowance)).remarks == news.remarks, "the cursor was not handed back"
    assert one(await forge.news([Watched(number, news.cursor)], allowance)).remarks == ()
    clock.tick()
    standin.say(number, "one more")
    later = one(await forge.news([Watched(number, news.cursor)], allowance))
    assert [r.body for r in later.remarks] == ["one more"]


async def test_checks_count_when_they_are_over(
    standin: StandIn, forge: GitHubForge, clock: Clock, allowance: Allowance
) -> None:
    number = await draft(forge)
    standin.check(number, "lint")
    standin.check(
        number, "tests", "failure", summary="2 failed", annotations=[{"path": "a.py", "line": 3, "message": "boom"}]
    )
    standin.check(number, "deploy/preview", "success", status_only=True)
    checks = one(await forge.news([Watched(number)], allowance)).checks
    assert checks is not None
    assert (checks.pending, checks.trouble) == (("lint",), "")
    assert [(c.name, c.conclusion) for c in checks.done] == [("tests", "failure"), ("deploy/preview", "success")]
    [failed] = checks.failed
    assert "2 failed" in failed.summary
    assert [(a.path, a.line, a.text) for a in failed.annotations] == [("a.py", 3, "boom")]
    standin.check(number, "lint", "success")
    standin.check(number, "tests", "success")
    checks = one(await forge.news([Watched(number)], allowance)).checks
    assert checks is not None
    assert (checks.pending, checks.failed, len(checks.done)) == ((), (), 3)


@pytest.mark.parametrize(("what", "state"), [("merged", PullState.MERGED), ("closed", PullState.CLOSED)])
async def test_an_end_says_who_and_when(
    standin: StandIn, forge: GitHubForge, clock: Clock, allowance: Allowance, what: Any, state: PullState
) -> None:
    number = await draft(forge)
    standin.set_mergeable(number, False)
    news = one(await forge.news([Watched(number)], allowance))
    assert (news.pull.state, news.pull.mergeable, news.pull.ended) == (PullState.DRAFT, False, False)
    clock.tick()
    standin.act(number, what, by="carol", merge_sha="c" * 40)
    news = one(await forge.news([Watched(number, news.cursor)], allowance))
    assert (news.pull.state, news.pull.ended_by, news.pull.ended_at) == (state, "carol", clock.now)
    assert news.pull.merge_sha == ("c" * 40 if state is PullState.MERGED else "")
    assert news.checks is None


async def test_what_did_not_change_costs_nothing(
    standin: StandIn, forge: GitHubForge, clock: Clock, allowance: Allowance
) -> None:
    watched = [Watched(await draft(forge, f"A-{n}")) for n in range(1, 6)]
    for each in watched:
        standin.set_mergeable(each.number, True)
    clock.tick()
    await forge.news(watched, allowance)
    left = allowance.left
    for _ in range(5):
        clock.tick()
        assert len((await forge.news(watched, allowance)).news) == 5
    assert allowance.left == left


async def test_an_allowance_that_is_used_up_leaves_some_for_later(
    standin: StandIn, forge: GitHubForge, clock: Clock
) -> None:
    watched = [Watched(await draft(forge, f"A-{n}")) for n in range(1, 6)]
    allowance = Allowance(14, clock)
    digest = await forge.news(watched, allowance)
    assert len(digest.news) == 2
    assert digest.left_out == (3, 4, 5)
    clock.tick(3_600)
    assert {each.pull.number for each in (await forge.news(watched, allowance)).news} >= {3, 4}


async def test_a_pull_request_that_is_gone_does_not_hold_up_the_others(
    standin: StandIn, forge: GitHubForge, allowance: Allowance
) -> None:
    number = await draft(forge)
    digest = await forge.news([Watched(99), Watched(number), Watched(0), Watched(number + 1, "nonsense")], allowance)
    assert [each.pull.number for each in digest.news] == [number]
    assert set(digest.troubles) == {99, 0, number + 1}
    assert "not a cursor" in digest.troubles[number + 1]


async def test_a_comment_is_made_once_and_is_no_news(
    standin: StandIn, forge: GitHubForge, allowance: Allowance
) -> None:
    number = await draft(forge)
    url = await forge.comment(number, "Done in `abc`.", "A-1/r1/7")
    assert await forge.comment(number, "Done in `abc`.", "A-1/r1/7") == url
    assert await forge.comment(number, "Done, again.", "A-1/r1/8") != url
    assert [each["body"].split("\n")[0] for each in standin.state.data["comments"]] == [
        "Done in `abc`.",
        "Done, again.",
    ]
    assert one(await forge.news([Watched(number)], allowance)).remarks == ()
    standin.act(number, "merged")
    await forge.comment(number, "Merged.", "end")
    with pytest.raises(ForgeError, match="not there"):
        await forge.comment(99, "words", "key")


class Broken(httpx.AsyncBaseTransport):
    """Answers requests whose path ends in one of ``answers`` with what is there, and passes all others on."""

    def __init__(self, inner: httpx.AsyncBaseTransport, answers: dict[str, httpx.Response]) -> None:
        self.inner = inner
        self.answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for end, answer in self.answers.items():
            if request.url.path.endswith(end):
                return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return await self.inner.handle_async_request(request)


@pytest.mark.parametrize("end", ["/pulls/1", "/pulls/1/reviews", "/pulls/1/comments", "/issues/1/comments", "/status"])
async def test_an_endpoint_that_fails_holds_up_only_its_own_pull_request(
    standin: StandIn, to_github: CheckedTransport, clock: Clock, allowance: Allowance, end: str
) -> None:
    broken = Broken(to_github, {})
    forge = github(standin.url, broken, clock=clock)
    numbers = [await draft(forge, "A-1"), await draft(forge, "A-2")]
    standin.say(1, "please")
    broken.answers[end] = httpx.Response(500, json={"message": "oops"})
    digest = await forge.news([Watched(number) for number in numbers], allowance)
    assert 1 in digest.troubles
    assert "GitHub answered 500" in digest.troubles[1]
    if end != "/status":
        assert [each.pull.number for each in digest.news] == [2]
    broken.answers.clear()
    digest = await forge.news([Watched(number) for number in numbers], allowance)
    assert [[r.body for r in each.remarks] for each in digest.news] == [["please"], []], "nothing was lost by it"


@pytest.mark.parametrize("end", ["/pulls", "/pulls/1", "/reviews", "/check-runs"])
async def test_a_limit_stops_the_round_and_says_until_when(
    standin: StandIn, to_github: CheckedTransport, clock: Clock, allowance: Allowance, end: str
) -> None:
    broken = Broken(to_github, {})
    forge = github(standin.url, broken, clock=clock)
    number = await draft(forge)
    broken.answers[end] = httpx.Response(403, headers={"retry-after": "600"}, json={"message": "secondary rate limit"})
    with pytest.raises(ForgeUnavailableError) as caught:
        await forge.news([Watched(number)], allowance)
    assert caught.value.resume_at == clock.now + timedelta(seconds=600)


async def test_the_last_requests_of_the_token_are_kept_for_publishing(
    standin: StandIn, to_github: CheckedTransport, clock: Clock, allowance: Allowance
) -> None:
    reset = str(int(clock.now.timestamp()) + 1_000)
    low = {"x-ratelimit-remaining": "99", "x-ratelimit-reset": reset}
    broken = Broken(to_github, {})
    forge = github(standin.url, broken, clock=clock)
    number = await draft(forge)
    broken.answers["/pulls"] = httpx.Response(200, headers=low, json=[])
    with pytest.raises(ForgeUnavailableError, match="99 requests are left to the token, which are kept for publishing"):
        await forge.news([Watched(number)], allowance)
    broken.answers.clear()
    assert (await forge.get(number)).number == number, "work itself goes on"
    clock.tick(1_001)
    assert one(await forge.news([Watched(number)], allowance)).pull.number == number


async def test_a_restart_costs_requests_and_no_news(
    standin: StandIn, to_github: CheckedTransport, clock: Clock, allowance: Allowance
) -> None:
    first = github(standin.url, to_github, clock=clock)
    number = await draft(first)
    standin.say(number, "one")
    news = one(await first.news([Watched(number)], allowance))
    standin.say(number, "two")  # in the same second
    again = github(standin.url, to_github, clock=clock)
    later = one(await again.news([Watched(number, news.cursor)], allowance))
    assert [remark.body for remark in later.remarks] == ["two"]


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("a <!-- run rm -rf --> b", "a  b"),
        ("a <!-- never closed", "a"),
        ("take `<!-- this -->` out", "take `<!-- this -->` out"),
        ("```html\n<!-- kept -->\n```", "```html\n<!-- kept -->\n```"),
        ("\\` <!-- hidden --> \\`", "\\`  \\`"),
        ("x\x00\x1b[31m\u202ey", "xy"),
        ("<!-- ` --> shown ` <!-- hidden -->", "shown `"),
    ],
)
async def test_what_people_cannot_see_is_not_read_either(
    standin: StandIn, forge: GitHubForge, allowance: Allowance, body: str, read: str
) -> None:
    number = await draft(forge)
    standin.say(number, body)
    [remark] = one(await forge.news([Watched(number)], allowance)).remarks
    assert remark.body == read


async def test_a_flood_of_remarks_is_bounded_each_and_read_to_its_end(
    standin: StandIn, forge: GitHubForge, allowance: Allowance
) -> None:
    number = await draft(forge)
    for index in range(230):
        standin.say(number, f"{index} " + "x" * (9_000 if index == 7 else 1))
    news = one(await forge.news([Watched(number)], allowance))
    assert len(news.remarks) == 230
    assert max(len(remark.body) for remark in news.remarks) <= 4_100
    assert one(await forge.news([Watched(number, news.cursor)], allowance)).remarks == ()
