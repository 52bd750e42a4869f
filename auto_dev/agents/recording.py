"""Recorded conversations with a model: what ``kind = "replay"`` plays. The format is in docs/recordings.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auto_dev.errors import AgentError
from auto_dev.text import line


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(_Part):
    type: Literal["text"] = "text"
    text: str


class ToolUse(_Part):
    type: Literal["tool_use"] = "tool_use"
    name: str
    input: dict[str, Any]
    id: str | None = None


class RecordedUsage(_Part):
    """Tokens as the Anthropic API tells them: ``input_tokens`` without what was read from or written to the cache."""

    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]
    cache_read_input_tokens: Annotated[int, Field(ge=0)] = 0
    cache_creation_input_tokens: Annotated[int, Field(ge=0)] = 0


class RecordedFailure(_Part):
    """What happened before the answer came: an error status with headers, or a cut connection (no status)."""

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    message: str = "recorded failure"
    headers: dict[str, str] = {}


class Turn(_Part):
    """One answer of the model. Usage that was not recorded is worked out from the sizes."""

    content: Annotated[list[Annotated[Text | ToolUse, Field(discriminator="type")]], Field(min_length=1)]
    stop_reason: str | None = None
    usage: RecordedUsage | None = None
    failures: list[RecordedFailure] = []
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.0


class Conversation(_Part):
    phase: Literal["plan", "implement", "review"] = "implement"
    round: Annotated[int, Field(ge=0)] = 0
    turns: Annotated[list[Turn], Field(min_length=1)]


class Recording(_Part):
    """All conversations about one story."""

    version: Literal[1] = 1
    story: str
    model: str = "claude-sonnet-4-6"
    conversations: Annotated[list[Conversation], Field(min_length=1)]

    def conversation(self, phase: str, round_number: int) -> Conversation | None:
        """The one that was recorded for this call."""
        return next((c for c in self.conversations if (c.phase, c.round) == (phase, round_number)), None)


def load_recording(folder: Path, story_id: str) -> Recording:
    """The recording of a story, from ``<folder>/<story id>.json``. Raises AgentError, saying what is wrong."""
    path = folder / f"{story_id}.json"
    if path.parent != folder or story_id.startswith("."):
        raise AgentError(f"no recording can have the name {line(story_id, 80)!r}", where=str(folder))
    try:
        return Recording.model_validate(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise AgentError(
            f"there is no recording of the story {story_id}", where=str(path), mend="docs/recordings.md has the format."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AgentError(f"the recording cannot be read: {line(str(error))}", where=str(path)) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise AgentError(f"the recording does not fit: {key}: {first['msg']}", where=str(path)) from None
