"""What passes through the gateway, how it is changed on its way, and what is booked for it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import aiohttp
import pytest

from auto_dev.budget.gateway import Grant
from auto_dev.config import PriceConfig
from auto_dev.store.database import Database
from tests.integration.gateway_kit import CLAUDE, FLASH, GPT, KEYS, WIRES, events, kit, request
from tests.model_server import Answer, ModelServer, Tokens, echo, say, words

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_each_protocol_is_answered_and_booked_to_the_micro_dollar(db: Database, wire: str, stream: bool) -> None:
    usage = Tokens(1000, 200, cache_read=300, cache_write=200 if wire == "anthropic" else 0, reasoning=50)
    async with kit(db, ModelServer(say("Hello from the model.", usage=usage))) as it:
        before = time.monotonic()
        reply = await it.ask(wire, stream=stream)
        assert reply.status == 200
        assert "model" in reply.text
        assert await it.charged() == it.server.record.cost_microusd > 0
        (row,) = await it.rows()
        assert (row["run_id"], row["story_id"], row["note"]) == ("run-1", "story-1", "")
        assert row["usage"]["input"] == 1000
        assert it.grant.requests == 1
        assert it.grant.last_turn >= before
        assert it.grant.stop is None


async def test_cache_writes_for_an_hour_cost_what_they_cost(db: Database) -> None:
    usage = Tokens(10_000, 100, cache_read=2000, cache_write=6000, cache_write_1h=5000)
    async with kit(db, ModelServer(say("x", usage=usage))) as it:
        system = [{"type": "text", "text": "S" * 20_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        path, body = request("anthropic", system=system)
        await it.post(path, body)
        assert await it.charged() == it.server.record.cost_microusd
        (row,) = await it.rows()
        assert row["usage"]["cache_write_1h"] == 5000
        assert row["charged_microusd"] <= row["amount_microusd"]


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_a_service_tier_is_priced_as_it_was_served(db: Database, wire: str) -> None:
    async with kit(db, ModelServer(say("x", usage=Tokens(1000, 10), tier="priority"))) as it:
        path, body = request(wire, service_tier="priority", stream=True)
        await it.post(path, body)
        dear = await it.charged()
        assert dear == it.server.record.cost_microusd
        it.server.scenario = say("x", usage=Tokens(1000, 10), tier="default")
        await it.post(path, body)
        assert await it.charged() - dear < dear


async def test_without_a_tier_the_default_is_asked_for(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        await it.ask("chat")
        assert it.last.body is not None
        assert it.last.body["service_tier"] == "default"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request_without_a_cap_gets_one(db: Database, wire: str) -> None:
    async with kit(db, ModelServer(words)) as it:
        assert (await it.ask(wire, cap=None)).status == 200
        assert it.last.max_output == 32_000


@pytest.mark.parametrize("asked", [True, False])
async def test_the_usage_of_a_chat_stream_is_asked_for_and_taken_out_again(db: Database, asked: bool) -> None:
    async with kit(db, ModelServer(words)) as it:
        options = {"stream_options": {"include_usage": True}} if asked else {}
        reply = await it.ask("chat", stream=True, **options)
        assert it.last.body is not None
        assert it.last.body["stream_options"] == {"include_usage": True}
        with_usage = [event for event in events(reply) if event.get("usage")]
        assert len(with_usage) == (1 if asked else 0)
        assert [event for event in events(reply) if event["choices"] == []] == with_usage
        assert reply.text.rstrip().endswith("[DONE]")
        assert await it.charged() == it.server.record.cost_microusd


@pytest.mark.parametrize("split", [1, 7, 64])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_in_any_pieces_arrives_as_it_is(db: Database, wire: str, split: int) -> None:
    text = "Ein Gruß – 你好 🙂\n\n" * 3
    async with kit(db, ModelServer(say(text, usage=Tokens(500, 60)))) as it:
        whole = await it.ask(wire, stream=True)
        it.server.scenario = say(text, usage=Tokens(500, 60), split=split)
        pieces = await it.ask(wire, stream=True)
        assert whole.text.count("你好") == pieces.text.count("你好") > 0
        assert len(pieces.body) == len(whole.body)
        assert await it.charged() == it.server.record.cost_microusd


async def test_gemini_streams_an_array_where_nobody_asks_for_events(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        _, body = request("gemini")
        reply = await it.post(f"/v1beta/models/{FLASH}:streamGenerateContent", body)
        assert isinstance(reply.json, list)
        assert await it.charged() == it.server.record.cost_microusd > 0


async def test_the_key_goes_to_the_provider_and_the_token_does_not(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        token = it.grant.token
        ways = [{"x-api-key": token}, {"authorization": f"Bearer {token}"}, {"x-goog-api-key": token}]
        for wire, name in (
            ("anthropic", "ANTHROPIC"),
            ("chat", "OPENAI"),
            ("responses", "OPENAI"),
            ("gemini", "GEMINI"),
        ):
            for way in ways:
                path, body = request(wire, text=f"my token is {token}")
                headers = {"user-agent": f"agent {token}", "cookie": token, "x-stainless-os": token, **way}
                async with it.http.post(it.gateway.url + path, json=body, headers=headers) as response:
                    assert response.status == 200, await response.text()
                assert it.last.key == KEYS[f"{name}_API_KEY"]
                assert token not in json.dumps([it.last.headers, it.last.body, it.last.path])
        path, body = request("gemini")
        assert (await it.post(f"{path}?key={token}", body, headers={"x-api-key": ""})).status == 200
        assert "key" not in it.last.path


@pytest.mark.parametrize("stream", [False, True])
async def test_the_key_never_comes_back(db: Database, stream: bool) -> None:
    async with kit(db, ModelServer(echo)) as it:
        reply = await it.ask("anthropic", stream=stream)
        assert KEYS["ANTHROPIC_API_KEY"] not in reply.text
        key = KEYS["ANTHROPIC_API_KEY"]
        failed = Answer(status=400, message=f"bad key {key}", headers={"x-request-id": f"r-{key}", "set-cookie": key})
        it.server.scenario = lambda asked: failed
        reply = await it.ask("anthropic", stream=stream)
        assert reply.status == 400
        assert "bad key" in reply.message
        assert key not in reply.text + str(dict(reply.headers))
        it.server.scenario = say("x" * 50 + key, split=5)
        reply = await it.ask("anthropic", stream=True)
        assert key not in reply.text


async def test_only_known_headers_pass(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        path, body = request("anthropic")
        await it.post(path + "?beta=true", body, headers={
            "anthropic-beta": "context-1m-2025-08-07", "user-agent": "claude-cli/2", "openai-organization": "other",
            "x-forwarded-for": "10.0.0.1", "accept-encoding": "gzip, br",
        })  # fmt: skip
        sent = {name.lower(): value for name, value in it.last.headers.items()}
        assert sent["anthropic-beta"] == "context-1m-2025-08-07"
        assert sent["user-agent"] == "claude-cli/2"
        assert sent["anthropic-version"] == "2023-06-01"
        assert sent["accept-encoding"] == "identity"
        assert {"openai-organization", "x-forwarded-for", "cookie"} & set(sent) == set()


async def test_what_costs_nothing_passes_and_is_not_booked(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        assert (await it.post("/v1/messages/count_tokens", request("anthropic")[1])).json["input_tokens"] > 0
        assert (await it.post(f"/v1beta/models/{FLASH}:countTokens", request("gemini")[1])).json["totalTokens"] > 0
        listed = await it.post("/v1/models", method="GET", headers={"anthropic-version": "2023-06-01"})
        assert CLAUDE in listed.text
        listed = await it.post(
            "/v1/models", method="GET", token="", headers={"authorization": f"Bearer {it.grant.token}"}
        )
        assert GPT in listed.text
        for method in ("GET", "HEAD"):
            assert (await it.post("/", method=method, token="")).status == 200
        assert await it.rows() == []
        assert it.grant.requests == 0


async def test_more_than_one_answer_is_reserved_for_each(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        await it.ask("chat")
        await it.ask("chat", n=3)
        one, three = sorted(row["amount_microusd"] for row in await it.rows())
        assert three - one == pytest.approx(2 * 1000 * 10, abs=20)


async def test_a_local_model_with_a_price_of_the_owners_needs_no_key(db: Database) -> None:
    server = ModelServer(words, keys=())
    async with kit(db, server, prices={"qwen3": PriceConfig(input=0, output=0)}, keys={}) as it:
        path, body = request("chat")
        await it.post(path, body | {"model": "qwen3"})
        assert it.last.key == ""  # the scripted server wants one all the same; none was made up


async def test_a_unix_socket_serves_its_own_grant_alone(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        with tempfile.TemporaryDirectory(prefix="gw-") as folder:
            socket = Path(folder) / "gateway.sock"
            await it.grant.listen(socket)
            assert socket.stat().st_mode & 0o777 == 0o600
            async with (
                it.gateway.grant("run-2", it.meter, it.upstreams) as other,
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as http,
            ):
                path, body = request("anthropic")
                for grant, status in ((it.grant, 200), (other, 400)):
                    headers = {"x-api-key": grant.token}
                    async with http.post(f"http://localhost{path}", json=body, headers=headers) as response:
                        assert response.status == status
            await it.grant.__aexit__(None, None, None)
            assert not socket.exists()


async def test_leaving_a_grant_waits_for_its_bookings(db: Database) -> None:
    async with kit(db, ModelServer(words)) as it:
        async with it.gateway.grant("run-2", it.meter, it.upstreams) as grant:
            path, body = request("anthropic")
            await it.post(path, body, token=grant.token)
        assert isinstance(grant, Grant)
        rows = await db.fetch_all("SELECT status FROM reservations")
        assert [row["status"] for row in rows] == ["settled"]
