"""A small stand-in of Slack's servers with scripted faults, payloads in Slack's own shape, and decisions to answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from aiohttp import WSMsgType, web
from psycopg.types.json import Jsonb

from auto_dev.store.database import Database

TEAM, APP, CHANNEL = "T0TEAM", "A0APP", "C0CHANNEL"
ANN, EVE = "U0ANN", "U0EVE"
BOT_TOKEN = "xoxb-canary-bot"
APP_TOKEN = f"xapp-1-{APP}-canary"
SIGNING_SECRET = "canary-signing-secret"
TICKET = "canary-ticket"
OPTIONS: Sequence[dict[str, Any]] = (
    {"id": "a", "label": "Take A", "action": "choose", "recommended": True},
    {"id": "b", "label": "Take B", "action": "choose"},
    {"id": "waive", "label": "Accept it", "action": "waive", "wants_text": True},
    {"id": "abandon", "label": "Abandon the run", "action": "abandon"},
)


@dataclass
class StandIn:
    """``script``: (method, what happens instead) once each: an error code, or an HTTP status. ``lives``: what the next
    socket connections do, then "serve": "refuse", "mute" (no hello), "close" (after the hello)."""

    url: str = ""
    calls: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    script: list[tuple[str, str | int]] = field(default_factory=list)
    lives: list[str] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    acks: dict[str, Any] = field(default_factory=dict)
    scopes: str = "chat:write,channels:history"
    channels: list[dict[str, Any]] = field(default_factory=lambda: [{"id": CHANNEL, "name": "auto-dev"}])
    team: str = TEAM
    greeting: dict[str, Any] = field(default_factory=lambda: {"type": "hello", "num_connections": 1})

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    def told(self) -> list[str]:
        """What was said to one person alone, by either way."""
        spoken = [body["text"] for method, body, _ in self.calls if method == "chat.postEphemeral"]
        return [reply["text"] for reply in self.replies] + spoken

    def made(self, method: str) -> list[dict[str, Any]]:
        return [body for name, body, _ in self.calls if name == method]

    async def answer(self, request: web.Request) -> web.Response:
        method, given = request.match_info["method"], await request.read()
        is_json = request.content_type == "application/json"
        body = json.loads(given or b"{}") if is_json else dict(await request.post())
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.calls.append((method, body, token))
        place = next((i for i, (name, _) in enumerate(self.script) if name == method), None)
        instead = self.script.pop(place)[1] if place is not None else None
        if isinstance(instead, int):
            return web.Response(status=instead, headers={"Retry-After": "1"})
        if instead or token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN):
            return web.json_response({"ok": False, "error": instead or "invalid_auth"})
        headers = {"x-oauth-scopes": self.scopes}
        return web.json_response({"ok": True, **self.say(method)}, headers=headers)

    def say(self, method: str) -> dict[str, Any]:
        match method:
            case "auth.test":
                return {"team": "Team", "team_id": self.team, "user": "auto-dev", "user_id": "U0BOT", "bot_id": "B0BOT"}
            case "bots.info":
                return {"bot": {"id": "B0BOT", "app_id": APP}}
            case "users.conversations":
                return {"channels": self.channels}
            case "apps.connections.open":
                return {"url": f"ws{self.url.removeprefix('http')}/socket/{TICKET}"}
            case "chat.postMessage":
                return {"channel": CHANNEL, "ts": f"{len(self.calls)}.000001"}
        return {}

    async def reply(self, request: web.Request) -> web.Response:
        self.replies.append(await request.json())
        return web.Response(text="ok")

    async def socket(self, request: web.Request) -> web.StreamResponse:
        life = self.lives.pop(0) if self.lives else "serve"
        if life == "refuse":
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        if life != "mute":
            await socket.send_json(self.greeting)
        if life == "close":
            await socket.close()
        async for message in socket:
            if message.type is WSMsgType.TEXT and (answer := json.loads(message.data)).get("envelope_id"):
                self.acks[answer["envelope_id"]] = answer.get("payload")
        return socket

    async def push(self, payload: dict[str, Any], name: str, kind: str = "interactive") -> None:
        """Send an envelope through the newest connection."""
        await self.sockets[-1].send_json({"type": kind, "envelope_id": name, "payload": payload})


@asynccontextmanager
async def stand_in() -> AsyncIterator[StandIn]:
    state = StandIn()
    app = web.Application()
    app.router.add_post("/api/{method}", state.answer)
    app.router.add_post("/hooks/{name}", state.reply)
    app.router.add_get("/socket/{ticket}", state.socket)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield state
    finally:
        for socket in state.sockets:
            await socket.close()
        await runner.cleanup()


def press(decision: str, option: str, *, user: str = ANN, **more: Any) -> dict[str, Any]:
    """A button's payload, as Slack sends it (https://docs.slack.dev/reference/interaction-payloads)."""
    value = json.dumps({"decision": decision, "option": option})
    return {
        "type": "block_actions",
        "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM},
        "api_app_id": APP,
        "token": "verification",
        "container": {"type": "message", "message_ts": "1.1", "channel_id": CHANNEL, "is_ephemeral": False},
        "trigger_id": f"{time.monotonic_ns()}.1.canarytrigger",
        "team": {"id": TEAM, "domain": "team"},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": CHANNEL, "name": "auto-dev"},
        "message": {"type": "message", "text": "…", "ts": "1.1", "bot_id": "B0BOT", "app_id": APP},
        "state": {"values": {}},
        "response_url": "",
        "actions": [
            {
                "action_id": f"decide/{decision}/{option}", "block_id": "b", "value": value, "type": "button",
                "text": {"type": "plain_text", "text": "Press"}, "action_ts": "1.2",
            }
        ],
        **more,
    }  # fmt: skip


def submit(decision: str, option: str, text: str | None, *, user: str = ANN, **more: Any) -> dict[str, Any]:
    """A dialog's payload."""
    state = {"values": {"answer": {"answer": {"type": "plain_text_input", "value": text}}}}
    view = {
        "id": "V1", "team_id": TEAM, "app_id": APP, "type": "modal", "callback_id": "decide", "state": state,
        "private_metadata": json.dumps({"decision": decision, "option": option}), "hash": "1.1", "blocks": [],
    }  # fmt: skip
    return {
        "type": "view_submission",
        "team": {"id": TEAM, "domain": "team"},
        "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM},
        "api_app_id": APP,
        "token": "verification",
        "trigger_id": f"{time.monotonic_ns()}.1.canarytrigger",
        "view": view,
        "response_urls": [],
        "is_enterprise_install": False,
        "enterprise": None,
        **more,
    }


def signed(
    payload: dict[str, Any] | bytes, *, secret: str = SIGNING_SECRET, shift: int = 0
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request as Slack signs it. ``shift``: seconds off the present."""
    body = payload if isinstance(payload, bytes) else urlencode({"payload": json.dumps(payload)}).encode()
    stamp = str(int(time.time()) + shift)
    signature = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return body, {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={signature}",
    }


@dataclass
class Caller:
    """Posts to an HTTP door like Slack does."""

    url: str
    client: httpx.AsyncClient

    async def send(self, payload: dict[str, Any] | bytes, **how: Any) -> httpx.Response:
        body, headers = signed(payload, **how)
        return await self.client.post(self.url, content=body, headers=headers)


async def put_decision(db: Database, name: str, *, project: str = "todo", options: Any = OPTIONS) -> None:
    """A story whose run waits for this decision."""
    story, run = f"S-{name}", f"run-{name}"
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO projects (id, root, state_dir) VALUES (%s, '/r', '/s') ON CONFLICT DO NOTHING", (project,)
        )
        await conn.execute(
            "INSERT INTO stories (project_id, id, title, path, priority, file_status, position, spec, digest)"
            " VALUES (%s, %s, 'Title', 'p', 3, 'ready', 1, '{}', 'd')",
            (project, story),
        )
        await conn.execute(
            "INSERT INTO runs (id, project_id, story_id, attempt, status, graph_version, policy, branch, base_branch)"
            " VALUES (%s, %s, %s, 1, 'waiting', '1', '{}', 'b', 'main')",
            (run, project, story),
        )
        await conn.execute(
            "INSERT INTO decisions (id, project_id, story_id, run_id, key, kind, question, why, options)"
            " VALUES (%s, %s, %s, %s, 'k', 'gate', %s, 'both fit', %s)",
            (name, project, story, run, f"{story}: which one?", Jsonb(list(options))),
        )


async def row_of(db: Database, name: str) -> dict[str, Any]:
    row = await db.fetch_one("SELECT * FROM decisions WHERE id = %s", (name,))
    assert row is not None
    return dict(row)


async def facts_now(db: Database) -> dict[str, Any]:
    """Everything that an answer could change."""
    tables = {
        "decisions": "SELECT id, status, answer, answer_text, answered_by FROM decisions ORDER BY id",
        "runs": "SELECT id, status, reason FROM runs ORDER BY id",
        "events": "SELECT kind, run_id, data FROM events ORDER BY id",
        "jobs": "SELECT status, args FROM procrastinate_jobs ORDER BY id",
        "outbox": "SELECT channel, key FROM outbox ORDER BY id",
    }
    return {name: await db.fetch_all(statement) for name, statement in tables.items()}


async def at_once(*work: Any) -> list[Any]:
    return list(await asyncio.gather(*work, return_exceptions=True))
