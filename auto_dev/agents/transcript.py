"""A conversation with a model, kept as JSON lines: each message is on the disk before the next step is taken.

So a conversation that was killed goes on where it was. What the next step is follows from the messages alone.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

BRIEF: Final = "brief"  # what a message of ours is for, in ``additional_kwargs["auto_dev"]``, which is not sent
REMINDER: Final = "reminder"
GO_ON: Final = "go on"


class Step(StrEnum):
    """What comes next in a conversation."""

    MODEL = "model"
    TOOLS = "tools"
    REMIND = "remind"  # it ended without a report
    GO_ON = "go on"  # its answer was cut off
    END = "end"


class Transcript:
    """The messages of one call of an agent, in memory and in a file. The file is ours: no agent writes there."""

    def __init__(self, path: Path) -> None:
        from langchain_core.messages import messages_from_dict

        self.path = path
        self.messages: list[BaseMessage] = messages_from_dict(_complete_lines(path))

    async def append(self, message: BaseMessage) -> None:
        """Add a message; it is on the disk when this returns."""
        from langchain_core.messages import message_to_dict

        row = json.dumps(message_to_dict(message), ensure_ascii=True, default=str)
        await asyncio.to_thread(_append, self.path, row)
        self.messages.append(message)


def next_step(messages: Sequence[BaseMessage], *, remind: bool = True) -> Step:
    """What the conversation needs next. ``remind``: whether an end without report is answered, once."""
    last = messages[-1]
    if last.type == "human":
        return Step.MODEL
    if unanswered(messages):
        return Step.TOOLS
    answer = last_answer(messages)
    if last.type == "tool":
        return Step.END if any(is_accepted_report(m) for m in _after_answer(messages)) else Step.MODEL
    if answer is not None and refused(answer):
        return Step.END
    if answer is not None and was_cut(answer):
        return Step.GO_ON
    if remind and _since_brief(messages, REMINDER) == 0:
        return Step.REMIND
    return Step.END


def unanswered(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The tool calls of the last answer that have no result yet: {"name", "args" (None: not readable), "id"}."""
    answer = last_answer(messages)
    if answer is None:
        return []
    done = {getattr(message, "tool_call_id", "") for message in _after_answer(messages)}
    calls: list[dict[str, Any]] = [dict(call) for call in answer.tool_calls]
    calls += [{"name": c.get("name") or "", "args": None, "id": c.get("id")} for c in answer.invalid_tool_calls]
    return [call for call in calls if call["id"] not in done]


def last_answer(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """The model's last message."""
    from langchain_core.messages import AIMessage

    return next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)


def is_accepted_report(message: BaseMessage) -> bool:
    """Whether the message says that the agent's report was written."""
    return message.type == "tool" and message.name == "report" and getattr(message, "status", "") == "success"


def refused(answer: AIMessage) -> bool:
    """Whether the model would not answer."""
    return answer.response_metadata.get("stop_reason") == "refusal"


def was_cut(answer: AIMessage) -> bool:
    """Whether the answer ended because it became too long."""
    told = answer.response_metadata
    return (told.get("stop_reason") or told.get("finish_reason")) in ("max_tokens", "length")


def turns(messages: Sequence[BaseMessage]) -> int:
    """How often the model has answered since the brief was last given."""
    count = 0
    for message in reversed(messages):
        if message.additional_kwargs.get("auto_dev") == BRIEF:
            break
        count += message.type == "ai"
    return count


def _after_answer(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].type == "ai":
            return messages[index + 1 :]
    return messages


def _since_brief(messages: Sequence[BaseMessage], kind: str) -> int:
    count = 0
    for message in reversed(messages):
        mark = message.additional_kwargs.get("auto_dev")
        if mark == BRIEF:
            break
        count += mark == kind
    return count


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of the file; a last line that a crash left unfinished is taken off it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)
    return [json.loads(row) for row in data[:end].splitlines()]


def _append(path: Path, row: str) -> None:
    new = not path.exists()
    with path.open("a", encoding="ascii") as file:
        file.write(row + "\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
