"""When a run must stop: budgets, limits of the providers, keys, anomalies, and the big switch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from auto_dev.budget.gateway import Upstreams
from auto_dev.config import GatewayConfig, PriceConfig
from auto_dev.errors import ConfigError
from auto_dev.store.database import Database
from tests.integration.gateway_kit import CLAUDE, DOLLAR, LIMITS, NOW, WIRES, kit, request
from tests.model_server import Answer, ModelServer, Tokens, say, spend, words

pytestmark = pytest.mark.integration

SHAPES: dict[str, Callable[[Any], bool]] = {
    "anthropic": lambda body: body["error"]["type"] in ("invalid_request_error", "billing_error"),
    "chat": lambda body: {"message", "type", "param", "code"} <= set(body["error"]),
    "responses": lambda body: {"message", "type", "param", "code"} <= set(body["error"]),
    "gemini": lambda body: body["error"]["code"] in (400, 402) and "status" in body["error"],
}  # fmt: skip


@pytest.mark.parametrize("refusal", [400, 402])
@pytest.mark.parametrize("wire", WIRES)
async def test_what_does_not_fit_is_not_sent_and_stops_the_run(db: Database, wire: str, refusal: int) -> None:
    limits = replace(LIMITS, story=2_000)
    async with kit(db, ModelServer(words), limits=limits, refusal=refusal, wait_s=0) as it:
        reply = await it.ask(wire, cap=64_000)
        assert reply.status == refusal
        assert "the story's limit of $0.00" in reply.message
        assert "auto-dev budget raise" in reply.message
        assert SHAPES[wire](reply.json)
        stop = await asyncio.wait_for(it.grant.stopped(), 1)
        assert (stop.kind, stop.cause, stop.resets_at) == ("budget", "story story-1", None)
        assert len(it.server.record) == 0


async def test_a_days_budget_says_when_it_starts_over(db: Database) -> None:
    async with kit(db, ModelServer(words), limits=replace(LIMITS, day=1000), wait_s=0) as it:
        await it.ask("anthropic", cap=64_000)
        assert it.grant.stop is not None
        assert it.grant.stop.resets_at == NOW.replace(hour=0) + timedelta(days=1)
        assert it.grant.stop.cause == "day 2026-11-20"


@pytest.mark.parametrize("wire", WIRES)
async def test_the_cap_is_lowered_to_what_the_budget_allows(db: Database, wire: str) -> None:
    limits = replace(LIMITS, story=200_000)
    async with kit(db, ModelServer(words), limits=limits, wait_s=0) as it:
        assert (await it.ask(wire, cap=128_000)).status == 200
        assert it.last.max_output is not None
        assert 4096 <= it.last.max_output < 128_000
        (row,) = await it.rows()
        assert 190_000 < row["amount_microusd"] <= 200_000


async def test_a_lowered_cap_takes_the_budget_for_thinking_with_it(db: Database) -> None:
    async with kit(db, ModelServer(words), limits=replace(LIMITS, story=100_000), wait_s=0) as it:
        await it.ask("anthropic", cap=64_000, thinking={"type": "enabled", "budget_tokens": 32_000})
        assert it.last.body is not None
        assert it.last.max_output is not None
        assert it.last.body["thinking"]["budget_tokens"] == it.last.max_output - 1024 >= 3000


async def test_nearly_all_of_a_budget_can_be_spent(db: Database) -> None:
    limits = replace(LIMITS, story=2 * DOLLAR)
    async with kit(db, ModelServer(spend()), limits=limits, wait_s=0) as it:
        tools = [{"name": "bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]
        for _ in range(200):
            if (await it.ask("anthropic", cap=8_000, text="x" * 4000, tools=tools)).status != 200:
                break
        spent = await it.charged()
        assert it.grant.stop is not None
        assert 0.95 * limits.story <= spent <= limits.story
        assert spent == it.server.record.cost_microusd


async def test_of_a_long_conversation_what_is_known_is_not_reckoned_in_bytes(db: Database) -> None:
    limits = replace(LIMITS, story=2 * DOLLAR)
    async with kit(
        db, ModelServer(spend(lambda asked: Tokens(80_000 + asked.answers * 600, 900))), limits=limits
    ) as it:
        tools = [{"name": "bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]
        talk: list[dict[str, Any]] = [{"role": "user", "content": "x" * 320_000}]
        for number in range(40):
            body = {"model": CLAUDE, "max_tokens": 8000, "messages": talk, "tools": tools}
            reply = await it.post("/v1/messages", body)
            if reply.status != 200:
                break
            call = reply.json["content"][-1]
            result = {"type": "tool_result", "tool_use_id": call["id"], "content": f"{number} " * 800}
            talk = [
                *talk,
                {"role": "assistant", "content": reply.json["content"]},
                {"role": "user", "content": [result]},
            ]
        first, *others = sorted(row["amount_microusd"] for row in await it.rows())[::-1]
        assert first > 3 * max(others[1:]) / 2  # afterwards the first message counts as it was counted
        assert all(row["charged_microusd"] <= row["amount_microusd"] for row in await it.rows())
        spent = await it.charged()
        assert spent == it.server.record.cost_microusd
        assert limits.story - spent < 500_000  # in bytes alone, no request would fit into the last dollar


async def test_a_request_waits_for_room_that_another_makes(db: Database) -> None:
    limits = replace(LIMITS, story=600_000)
    async with kit(db, ModelServer(say("x", usage=Tokens(100, 10), delay_s=0.2)), limits=limits) as it:
        replies = await asyncio.gather(*(it.ask("anthropic", cap=32_000) for _ in range(4)))
        assert [reply.status for reply in replies] == [200] * 4


@pytest.mark.parametrize(
    ("answer", "kind", "after"),
    [
        (Answer(status=429, headers={"retry-after": "3600"}), "rate_limit", 3600),
        (Answer(status=429, headers={"retry-after": "Fri, 20 Nov 2026 13:00:00 GMT"}), "rate_limit", 3600),
        (Answer(status=529, headers={"retry-after": "120"}), "rate_limit", 120),
        (Answer(status=503, headers={"retry-after-ms": "90000"}), "rate_limit", 90),
        (Answer(status=429, message="Rate limit reached. Please try again in 2h5m."), "rate_limit", 7500),
        (Answer(status=429, headers={"anthropic-ratelimit-tokens-remaining": "0",
                                     "anthropic-ratelimit-tokens-reset": "2026-11-20T12:30:00Z"}), "rate_limit", 1800),
        (Answer(status=429, headers={"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}),
         "rate_limit", 360),
        (Answer(status=429, raw=b'{"error": {"code": 429, "details": [{"retryDelay": "300s"}]}}'), "rate_limit", 300),
        (Answer(status=400, message="You have reached your specified API usage limits. "
                                    "You will regain access on 2026-12-01 at 00:00 UTC."), "rate_limit", 10.5 * 86400),
        (Answer(status=429, message="You exceeded your current quota, please check your plan and billing details."),
         "refused", None),
        (Answer(status=400, message="Your credit balance is too low to access the API."), "refused", None),
        (Answer(status=401, message="invalid x-api-key"), "refused", None),
        (Answer(status=403, message="not for you"), "refused", None),
    ],
)  # fmt: skip
async def test_a_provider_that_wants_no_more_stops_the_run(
    db: Database, answer: Answer, kind: str, after: float | None
) -> None:
    async with kit(db, ModelServer(lambda asked: answer), refusal=402) as it:
        reply = await it.ask("anthropic")
        assert reply.status == 402
        assert it.grant.stop is not None
        assert it.grant.stop.kind == kind
        assert it.grant.stop.resets_at == (None if after is None else NOW + timedelta(seconds=after))
        if answer.status in (401, 403):
            assert "ANTHROPIC_API_KEY" in reply.message
        assert await it.charged() == 0


@pytest.mark.parametrize("status", [429, 529, 503])
async def test_a_short_limit_is_passed_on_and_costs_nothing(db: Database, status: int) -> None:
    answer = Answer(status=status, headers={"retry-after": "2"}, message="Overloaded")
    async with kit(db, ModelServer(lambda asked: answer)) as it:
        reply = await it.ask("anthropic")
        assert (reply.status, reply.headers["retry-after"], reply.message) == (status, "2", "Overloaded")
        assert it.grant.stop is None
        assert await it.charged() == 0


async def test_many_short_limits_in_a_row_are_a_long_one(db: Database) -> None:
    answer = Answer(status=429, headers={"retry-after": "1"})
    async with kit(db, ModelServer(lambda asked: answer)) as it:
        assert [(await it.ask("chat")).status for _ in range(9)] == [429] * 9
        it.server.scenario = words
        assert (await it.ask("chat")).status == 200
        it.server.scenario = lambda asked: answer
        assert [(await it.ask("chat")).status for _ in range(9)] == [429] * 9
        assert not it.grant.stop
        assert (await it.ask("chat")).status == 400
        assert (await asyncio.wait_for(it.grant.stopped(), 1)).kind == "rate_limit"


async def test_a_limited_provider_is_not_asked_again_before_its_time(db: Database) -> None:
    async with kit(db, ModelServer(lambda asked: Answer(status=429, headers={"retry-after": "600"}))) as it:
        await it.ask("anthropic")
        it.server.scenario = words
        async with it.gateway.grant("run-2", it.meter, it.upstreams) as other:
            assert (await it.post(*request("anthropic"), token=other.token)).status == 400
            assert other.stop is not None
            assert other.stop.resets_at == NOW + timedelta(seconds=600)
            assert len(it.server.record) == 1
            assert (await it.post(*request("chat"), token=other.token)).status == 200  # another provider
        it.clock[0] += timedelta(seconds=601)
        assert (await it.ask("anthropic")).status == 200


async def test_a_redirect_is_not_followed(db: Database) -> None:
    answer = Answer(status=307, headers={"location": "http://127.0.0.1:1/"})
    async with kit(db, ModelServer(lambda asked: answer)) as it:
        reply = await it.ask("anthropic")
        assert reply.status == 400
        assert "gateway.anthropic_url" in reply.message


async def test_without_its_key_a_provider_is_not_asked(db: Database) -> None:
    async with kit(db, ModelServer(words), upstream="https://api.anthropic.com", keys={}) as it:
        reply = await it.ask("anthropic")
        assert reply.status == 400
        assert "ANTHROPIC_API_KEY is not set" in reply.message
        assert it.grant.stop is not None
        assert it.grant.stop.kind == "refused"
        assert await it.rows() == []


class Watching:
    """Finds the third request one too many, and more than ten cents at once too much."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []

    def asked(self, digest: bytes) -> str:
        self.digests.append(digest)
        return "the same request came 3 times" if self.digests.count(digest) >= 3 else ""

    def booked(self, microusd: int) -> str:
        return "too much at once" if microusd > 100_000 else ""


async def test_an_anomaly_stops_the_run(db: Database) -> None:
    async with kit(db, ModelServer(words), watch=Watching()) as it:
        assert [(await it.ask("chat")).status for _ in range(2)] == [200, 200]
        assert (await it.ask("chat", text="another")).status == 200
        reply = await it.ask("chat")
        assert (reply.status, reply.message) == (400, "auto-dev: the same request came 3 times")
        assert it.grant.stop is not None
        assert it.grant.stop.kind == "anomaly"
        assert (await it.ask("chat", text="yet another")).status == 400


async def test_an_anomaly_in_what_is_booked_stops_the_run(db: Database) -> None:
    async with kit(db, ModelServer(say("x", usage=Tokens(50_000, 100))), watch=Watching()) as it:
        assert (await it.ask("anthropic", text="x" * 60_000)).status == 200
        assert (await asyncio.wait_for(it.grant.stopped(), 5)).detail == "too much at once"


async def test_the_big_switch_cuts_everything_and_lets_nothing_through(
    db: Database, eventually: Callable[..., Awaitable[Any]]
) -> None:
    slow = say("word " * 500, usage=Tokens(1000, 600), pieces=500, pause_s=0.02)
    async with kit(db, ModelServer(slow)) as it:
        path, body = request("anthropic", stream=True)
        response = await it.http.post(it.gateway.url + path, json=body, headers={"x-api-key": it.grant.token})
        await response.content.readany()
        it.gateway.halt("panic")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert it.grant.stop is not None
        assert (it.grant.stop.kind, it.grant.stop.detail) == ("halted", "panic")
        await eventually(lambda: it.last.outcome == "gone")
        before = len(it.server.record)
        for asked in (request("chat"), ("/v1/messages/count_tokens", request("anthropic")[1])):
            reply = await it.post(*asked)
            assert (reply.status, reply.message) == (400, "auto-dev: panic")
        assert len(it.server.record) == before
        assert await it.charged() >= it.server.record.cost_microusd > 0
        it.gateway.release()
        async with it.gateway.grant("run-2", it.meter, it.upstreams) as other:
            it.server.scenario = words
            assert (await it.post(*request("chat"), token=other.token)).status == 200


async def test_searches_are_bounded_reserved_and_priced(db: Database) -> None:
    lie = {"server_tool_use": {"web_search_requests": 2}}
    answer = say("found", usage=Tokens(9000, 100), lie=lie)
    async with kit(db, ModelServer(answer), limits=replace(LIMITS, story=20 * DOLLAR)) as it:
        tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 100}]
        path, body = request("anthropic", tools=tools)
        body["model"] = "claude-haiku-4-5"
        assert (await it.post(path, body)).status == 200
        assert it.last.body is not None
        assert it.last.body["tools"][0]["max_uses"] == 5
        assert await it.charged() == it.server.record.cost_microusd + 20_000


async def test_the_owners_price_covers_what_the_table_does_not_know(db: Database) -> None:
    prices = {"my-model": PriceConfig(input=1, output=2)}
    async with kit(db, ModelServer(say("x", usage=Tokens(1000, 100))), prices=prices) as it:
        path, body = request("chat")
        assert (await it.post(path, body | {"model": "my-model"})).status == 200
        assert await it.charged() == 1200


async def test_a_ledger_that_is_away_sends_nothing(db: Database, eventually: Callable[..., Awaitable[Any]]) -> None:
    async with kit(db, ModelServer(words)) as it:
        await db.execute("ALTER TABLE reservations RENAME TO away")
        assert (await it.ask("anthropic")).status == 502
        assert len(it.server.record) == 0
        await db.execute("ALTER TABLE away RENAME TO reservations")
        assert (await it.ask("anthropic")).status == 200


async def test_a_booking_that_fails_is_made_again(db: Database, eventually: Callable[..., Awaitable[Any]]) -> None:
    async with kit(db, ModelServer(say("x", delay_s=0.2))) as it:
        asking = asyncio.create_task(it.ask("anthropic"))
        await eventually(lambda: len(it.server.record) == 1)
        await db.execute("ALTER TABLE reservations RENAME TO away")
        assert (await asking).status == 200
        await db.execute("ALTER TABLE away RENAME TO reservations")
        assert await it.charged() == it.server.record.cost_microusd > 0


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "api.anthropic.com", "http://", "https://x/?a=1", "http://[", "https://x#y"]
)
def test_an_upstream_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.openai_url"):
        Upstreams.of(GatewayConfig(openai_url=url))


def test_upstreams_may_have_a_path_of_their_own() -> None:
    config = GatewayConfig(openai_url="http://127.0.0.1:11434/v1/", gemini_url="https://proxy.example/google/v1beta")
    found = Upstreams.of(config)
    assert (found.openai, found.gemini) == ("http://127.0.0.1:11434", "https://proxy.example/google")
    assert found.anthropic == "https://api.anthropic.com"
    assert CLAUDE


async def test_a_service_that_cannot_be_reached_parks_the_run_after_three_tries(db: Database) -> None:
    async with kit(db, ModelServer(words), upstream="http://127.0.0.1:1") as it:
        assert [(await it.ask("anthropic")).status for _ in range(3)] == [502, 502, 400]
        stop = await asyncio.wait_for(it.grant.stopped(), 1)
        assert (stop.kind, stop.resets_at) == ("rate_limit", NOW + timedelta(minutes=5))
        assert "cannot be reached" in stop.detail
        assert await it.charged() == 0


async def test_a_service_that_fails_again_and_again_parks_the_run(db: Database) -> None:
    async with kit(db, ModelServer(lambda asked: Answer(status=500, message="broken"))) as it:
        assert [(await it.ask("chat")).status for _ in range(5)] == [500] * 5
        it.server.scenario = words
        assert (await it.ask("chat")).status == 200
        it.server.scenario = lambda asked: Answer(status=500, message="broken")
        assert [(await it.ask("chat")).status for _ in range(6)] == [500] * 5 + [400]
        assert (await asyncio.wait_for(it.grant.stopped(), 1)).kind == "rate_limit"


async def test_a_short_key_does_not_garble_answers(db: Database) -> None:
    async with kit(db, ModelServer(say("next, exec it")), keys={"OPENAI_API_KEY": "x"}) as it:
        for stream in (False, True):
            assert "[key]" not in (await it.ask("chat", stream=stream)).text


async def test_a_missing_key_that_is_wanted_is_named_as_missing(db: Database) -> None:
    async with kit(db, ModelServer(words, keys=["sk-needed-0123456789"]), keys={}) as it:
        reply = await it.ask("anthropic")
        assert "ANTHROPIC_API_KEY is not set" in reply.message
