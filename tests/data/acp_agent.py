"""An agent of the Agent Client Protocol, made with the protocol's own library: it does what lines of the prompt say.

FILE: a.txt = text      write a file in the session's folder
ASK: KIND PATH          ask for permission to touch PATH (KIND as in the protocol), and say what was answered
RUN: COMMAND            the same for a command
STOP: max_tokens        end the turn for that reason
HANG | DIE | LINGER     never answer; end in mid-turn; stay after the turn
NOISE                   write lines that are no messages, and one of ten megabytes
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from acp import (
    PROTOCOL_VERSION,
    AuthenticateResponse,
    InitializeResponse,
    LoadSessionResponse,
    NewSessionResponse,
    PromptResponse,
    RequestError,
    run_agent,
    start_tool_call,
    text_block,
    update_agent_message,
)
from acp.schema import (
    AgentCapabilities,
    EnvVarAuthMethod,
    PermissionOption,
    SessionMode,
    SessionModeState,
    SetSessionModeResponse,
    ToolCallLocation,
    ToolCallUpdate,
)

KEPT = Path(os.environ["HOME"]) / "sessions.json"
LOCKED = "--locked" in sys.argv


class ScriptedAgent:
    def __init__(self) -> None:
        self.folder = Path()
        self.unlocked = not LOCKED
        self.lingers = False
        self.mode = "default"

    def on_connect(self, conn: Any) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, *args: Any, **kwargs: Any) -> InitializeResponse:
        methods: list[Any] = (
            [EnvVarAuthMethod(id="test-api-key", name="Key", type="env_var", vars=[])] if LOCKED else []
        )
        return InitializeResponse(
            protocol_version=int(os.environ.get("SPEAKS", PROTOCOL_VERSION)),
            agent_capabilities=AgentCapabilities(load_session=True),
            auth_methods=methods,
        )

    async def authenticate(self, method_id: str, **kwargs: Any) -> AuthenticateResponse | None:
        self.unlocked = method_id == "test-api-key" and bool(os.environ.get("OPENAI_API_KEY"))
        return AuthenticateResponse()

    async def new_session(self, cwd: str, *args: Any, **kwargs: Any) -> NewSessionResponse:
        if not self.unlocked:
            raise RequestError.auth_required()
        self.folder = Path(cwd)
        known = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        name = f"session-{len(known)}"
        KEPT.write_text(json.dumps({**known, name: []}))
        modes = SessionModeState(
            current_mode_id="default",
            available_modes=[SessionMode(id="default", name="Default"), SessionMode(id="plan", name="Plan")],
        )
        return NewSessionResponse(session_id=name, modes=modes)

    async def load_session(self, cwd: str, session_id: str, *args: Any, **kwargs: Any) -> LoadSessionResponse | None:
        self.folder = Path(cwd)
        known = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        if session_id not in known:
            raise RequestError.resource_not_found(session_id)
        for told in known[session_id]:
            await self.say(session_id, f"earlier: {told}")
        return LoadSessionResponse()

    async def set_session_mode(self, session_id: str, mode_id: str, **kwargs: Any) -> SetSessionModeResponse | None:
        self.mode = mode_id
        return SetSessionModeResponse()

    async def prompt(self, session_id: str, prompt: list[Any], **kwargs: Any) -> PromptResponse:
        text = "\n".join(block.text for block in prompt)
        known = json.loads(KEPT.read_text())
        known[session_id].append(text)
        KEPT.write_text(json.dumps(known))
        reason = "end_turn"
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            match word:
                case "FILE:":
                    name, _, content = rest.partition(" = ")
                    await self.client.session_update(session_id, start_tool_call("1", f"write {name}", kind="edit"))
                    (self.folder / name).write_text(content)
                case "ASK:" | "RUN:":
                    await self.ask(session_id, word, rest)
                case "STOP:":
                    reason = rest
                case "NOISE":
                    os.set_blocking(1, True)
                    print("not a message\n{}\n[1]\n" + '{"jsonrpc": "2.0", "id": 99, "result": 1}\n' + "x" * 10_000_000)
                    print("\N{SNOWMAN} {broken", flush=True)
                case "HANG":
                    await asyncio.sleep(3600)
                case "DIE":
                    print("it hurts", file=sys.stderr, flush=True)
                    os._exit(3)
                case "LINGER":
                    self.lingers = True
        await self.say(session_id, f"mode {self.mode}, {len(known[session_id])} prompts")
        return PromptResponse(stop_reason=reason)  # type: ignore[arg-type]

    async def ask(self, session_id: str, word: str, rest: str) -> None:
        kind, _, path = rest.partition(" ") if word == "ASK:" else ("execute", "", "")
        call = ToolCallUpdate(
            tool_call_id="7",
            title=f"touch {path}",
            kind=kind,  # type: ignore[arg-type]
            locations=[ToolCallLocation(path=path)] if path else None,
            raw_input={"command": rest} if word == "RUN:" else None,
        )
        options = [
            PermissionOption(option_id="yes", name="Yes", kind="allow_once"),
            PermissionOption(option_id="no", name="No", kind="reject_once"),
        ]
        answer = await self.client.request_permission(session_id=session_id, tool_call=call, options=options)
        outcome = getattr(answer.outcome, "option_id", answer.outcome.outcome)
        with (self.folder / "answers.txt").open("a") as file:
            file.write(f"{rest}: {outcome}\n")

    async def say(self, session_id: str, text: str) -> None:
        await self.client.session_update(session_id, update_agent_message(text_block(text)))


async def main() -> None:
    agent: Any = ScriptedAgent()
    await run_agent(agent)
    if agent.lingers:
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main())
