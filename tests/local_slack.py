"""local-slack, a third-party stand-in of Slack, as tests use it: Socket Mode, signed HTTP, a page with real buttons."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / ".agents" / "bin" / "local-slack"
BOX = Path(__file__).with_name("local_slack_box.py")
BOT_TOKEN = "xoxb-local-bot"
APP_TOKEN = "xapp-local-app"
SIGNING_SECRET = "local-signing-secret"
TEAM, APP, CHANNEL = "T0LOCAL", "A0LOCAL", "C0DECIDE"
ALICE, BOB = "U0ALICE", "U0BOB"


def require() -> None:
    """Skip, loudly, where it is not installed or cannot be shut in."""
    if not PROGRAM.exists():
        pytest.skip(f"local-slack is not installed: ./dev peers local-slack ({PROGRAM})")
    if shutil.which("bwrap") is None:
        pytest.skip("local-slack listens on all interfaces, and without bubblewrap it cannot be shut in")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class LocalSlack:
    """One workspace. ``mode``: "socket" or "http"; then requests go to ``out_port`` of this machine's loopback."""

    folder: Path
    mode: str = "socket"
    out_port: int = 0
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    relay: asyncio.Server | None = None
    joined: set[asyncio.Task[None]] = field(default_factory=set)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=15, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    def config(self, *, deciders: str = f'["{ALICE}"]', mode: str = "") -> str:
        """The [notify] section of a project that uses it."""
        lines = ["", "[notify]", 'channels = ["slack"]', "[notify.slack]", 'channel = "#decide"']
        lines += [f"deciders = {deciders}", f'api_url = "{self.api_url}"', f'mode = "{mode or self.mode}"']
        return "\n".join([*lines, f'listen = "127.0.0.1:{self.out_port or 3101}"', ""])

    def secrets(self) -> dict[str, str]:
        given = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_SIGNING_SECRET": SIGNING_SECRET}
        del given["SLACK_SIGNING_SECRET" if self.mode == "socket" else "SLACK_APP_TOKEN"]
        return given

    async def start(self) -> None:
        """Start it, at the port that it had before."""
        listening = await self._listening()
        self.port = listening.getsockname()[1]
        outside = self.folder / "out.sock"
        outside.unlink(missing_ok=True)
        self.relay = await asyncio.start_unix_server(self._outward, outside)
        config = self.folder / "slack.json"
        config.write_text(json.dumps(self._workspace()))
        command = [str(PROGRAM), "--config", str(config), "--port", str(self.port), "--base-host", "127.0.0.1"]
        with (self.folder / "slack.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("bwrap", "--dev-bind", "/", "/", "--unshare-net", "--unshare-pid", "--die-with-parent", "--"),
                    *(sys.executable, str(BOX), str(listening.fileno()), str(self.port), str(outside)),
                    *(str(self.out_port), *command),
                ],
                pass_fds=(listening.fileno(),), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            )  # fmt: skip
        listening.close()
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if (await self.client.get(f"{self.url}/_control/state", timeout=2)).is_success:
                    return
            assert self.process.poll() is None, (self.folder / "slack.log").read_text()
            await asyncio.sleep(0.05)
        pytest.fail("local-slack does not answer")

    async def _listening(self) -> socket.socket:
        """The port, once a former box has really let go of it."""
        for _ in range(200):
            listening = socket.socket()
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind(("127.0.0.1", self.port))
                listening.listen(64)
            except OSError:
                listening.close()
                await asyncio.sleep(0.05)
            else:
                return listening
        pytest.fail(f"port {self.port} is not free")

    async def stop(self) -> None:
        """End it and everything in its box; what was said there is forgotten."""
        if self.relay is not None:
            self.relay.close()
        for task in list(self.joined):
            task.cancel()
        if self.process is not None:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)
            self.process = None

    async def messages(self) -> list[dict[str, Any]]:
        """What stands in the channel, the oldest first; whispers too."""
        return list((await self.client.get(f"{self.url}/_control/messages/{CHANNEL}")).json()["messages"])

    async def log(self) -> list[dict[str, Any]]:
        return list((await self.client.get(f"{self.url}/_control/log")).json()["log"])

    async def click(self, message: dict[str, Any], option: str, user: str = ALICE) -> None:
        """Press a button without a browser."""
        action = button(message, option)
        body = {"channel": CHANNEL, "messageTs": message["ts"], "user": user, "action": action}
        assert (await self.client.post(f"{self.url}/_control/interact", json=body)).json()["ok"]

    def _workspace(self) -> dict[str, Any]:
        return {
            "workspace": {"name": "Test", "domain": "test", "teamId": TEAM},
            "app": {
                "appId": APP, "botUserId": "U0BOT", "botName": "auto-dev", "botToken": BOT_TOKEN,
                "appToken": APP_TOKEN, "signingSecret": SIGNING_SECRET,
                "mode": "socket" if self.mode == "socket" else "events",
                "requestUrl": f"http://127.0.0.1:{self.out_port}/slack/events",
            },
            "users": [{"id": ALICE, "name": "alice", "real_name": "Alice"}, {"id": BOB, "name": "bob"}],
            "channels": [{"id": CHANNEL, "name": "decide", "members": [ALICE, BOB, "U0BOT"]}],
        }  # fmt: skip

    async def _outward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.joined.add(task)
        try:
            other = await asyncio.open_connection("127.0.0.1", self.out_port)
        except OSError:
            writer.close()
            return
        finally:
            self.joined.discard(task)
        await asyncio.gather(_pump(reader, other[1]), _pump(other[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def button(message: dict[str, Any], option: str) -> dict[str, Any]:
    """The message's button for an option, as Slack's client tells of it."""
    for block in message.get("blocks", []):
        for element in block.get("elements", []) if block["type"] == "actions" else []:
            if json.loads(element["value"])["option"] == option:
                return {**element, "block_id": block.get("block_id", "b")}
    raise AssertionError(f"no button for {option!r}")
