"""kind = "replay": recorded model conversations through the real chat loop, the real tools, the gateway and real HTTP.

Only the model's words are old. What the tools do, what git sees, what the gates say and what the ledger books is real.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Turn
from auto_dev.agents.chat import DELAYS, converse
from auto_dev.agents.models import model_spec, split_model
from auto_dev.agents.playback import Playback
from auto_dev.agents.recording import Recording, load_recording
from auto_dev.agents.stream import Emit, stream
from auto_dev.config import AgentConfig
from auto_dev.errors import AgentError


class ReplayAgent:
    """Plays ``<agent.recording>/<story id>.json``. Metered at the prices of the model that was recorded."""

    name = "replay"

    def __init__(self, clock: Callable[[], datetime], delays: Sequence[float] = DELAYS) -> None:
        self._clock = clock
        self._delays = tuple(delays)

    def run(self, task: AgentTask) -> AsyncGenerator[Event | AgentResult, None]:
        async def work(emit: Emit) -> AgentResult:
            try:
                recording = _recording(task.project_root, task.config, task.story_id)
                spec = model_spec(task.config, task.endpoint, recording.model)
            except AgentError as error:
                return AgentResult(Outcome.UNAVAILABLE, str(error))
            return await converse(task, spec, emit, self._clock, self._delays, remind=False)

        return stream(work)

    @asynccontextmanager
    async def upstream(self, turn: Turn) -> AsyncIterator[Mapping[str, str]]:
        """The server that plays this turn's conversation. Raises AgentError when there is none to play."""
        recording = _recording(turn.project_root, turn.config, turn.story_id)
        provider, model = split_model(turn.config.model or recording.model)
        if provider != "anthropic":
            raise AgentError(f"recordings are of Anthropic models, not {provider}", where="agent.model")
        conversation = recording.conversation(turn.phase, turn.round)
        if conversation is None:
            raise AgentError(
                f"the recording of {turn.story_id} has no conversation for phase {turn.phase}, round {turn.round}"
            )
        async with Playback(conversation, model) as server:
            yield {provider: server.base_url}


def _recording(project_root: Path, config: AgentConfig, story_id: str) -> Recording:
    return load_recording(project_root / (config.recording or ""), story_id)
