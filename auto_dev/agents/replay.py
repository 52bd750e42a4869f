"""kind = "replay": recorded model conversations through the real chat loop, the real tools and real HTTP.

Only the model's words are old. What the tools do, what git sees, what the gates say and what the ledger books is real.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome
from auto_dev.agents.chat import DELAYS, converse
from auto_dev.agents.models import ModelSpec, split_model
from auto_dev.agents.playback import Playback
from auto_dev.agents.recording import load_recording
from auto_dev.agents.stream import Emit, stream
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
                folder = task.project_root / (task.config.recording or "")
                recording = load_recording(folder, task.story_id)
                provider, model = split_model(task.config.model or recording.model)
                if provider != "anthropic":
                    raise AgentError(f"recordings are of Anthropic models, not {provider}", where="agent.model")
            except AgentError as error:
                return AgentResult(Outcome.UNAVAILABLE, str(error))
            conversation = recording.conversation(task.phase, task.round)
            if conversation is None:
                detail = (
                    f"the recording of {task.story_id} has no conversation for phase {task.phase}, round {task.round}"
                )
                return AgentResult(Outcome.UNAVAILABLE, detail)
            async with Playback(conversation, model) as server:
                spec = ModelSpec(provider, model, "recorded", server.base_url)
                return await converse(task, spec, emit, self._clock, self._delays, remind=False)

        return stream(work)
