"""What may leave: the one check before a push, and the credentials taken out of everything that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from auto_dev.errors import AutoDevError
from auto_dev.gates.base import Judgement, Leak
from auto_dev.gates.credentials.scanner import by_length, hide
from auto_dev.gates.engine import Ruled
from auto_dev.gates.engine import rule as rule_one
from auto_dev.gates.leaks import find_leaks, secret_values
from auto_dev.gates.secrets import SecretsGate, judge_leaks
from auto_dev.model import Route
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.state import StoryState, start_of
from auto_dev.report import Report
from auto_dev.store import runs
from auto_dev.store.decisions import Question
from auto_dev.store.events import QUERIES, emit
from auto_dev.worktrees.adopt import tracking_ref


@dataclass(frozen=True, slots=True)
class Cleared:
    """A commit of which the secrets gate has just said that it may leave. Nothing else is pushed."""

    head_sha: str
    ruled: Ruled

    def __post_init__(self) -> None:
        if self.ruled.gate != SecretsGate.name or self.ruled.judgement.route is not Route.PROCEED:
            raise ValueError("only the secrets gate clears a commit, and it did not")


class Leaving:
    """The commits of a run between its base and ``head_sha``; they are searched for credentials once."""

    def __init__(self, context: RunContext, base_sha: str, head_sha: str) -> None:
        self.context = context
        self.base_sha = base_sha
        self.head_sha = head_sha
        self._leaks: tuple[Leak, ...] | None = None

    async def leaks(self) -> Sequence[Leak]:
        """The credentials that they bring and that the owner does not allow."""
        if self._leaks is None:
            services = self.context.services
            self._leaks = await find_leaks(
                services.worktrees.history,
                self.base_sha,
                self.head_sha,
                credentials=services.credentials,
                known=await known_tips(self.context),
                allow=self.context.policy.gates.secrets.allow,
            )
        return self._leaks

    async def redact(self, judgement: Judgement) -> Judgement:
        """What a gate says, without any credential."""
        return await redacted(self.context, judgement, await self.leaks())

    async def clear(self, state: StoryState) -> Ruled:
        """The secrets gate's ruling on exactly these commits."""
        accepted = await accepted_of(self.context)
        leaks = await self.leaks()
        new = [leak for leak in leaks if leak.fingerprint not in accepted]
        return rule_one(
            SecretsGate.name,
            judge_leaks(new or leaks),
            advisory=SecretsGate.name in self.context.policy.gates.advisory,
            waived=state.get("waived", {}).get(SecretsGate.name, ""),
            accepted=accepted,
        )


async def known_tips(context: RunContext) -> tuple[str, ...]:
    """Commits that are everybody's already: the base branch and the story's own on the remote, as they were fetched."""
    base = context.base_branch
    remote = context.services.mirror.repository.remote
    names = [f"refs/remotes/{remote}/{base}"] if remote else []
    names += [f"refs/remotes/local/{base}", tracking_ref(context.services.mirror, context.branch)]
    found = [await context.services.worktrees.history.resolve(ref) for ref in names]
    return tuple(sha for sha in found if sha)


async def accepted_of(context: RunContext) -> frozenset[str]:
    """The fingerprints of the findings that a person has accepted in this run."""
    async with context.services.db.pool.connection() as conn:
        return await runs.accepted(conn, context.run_id)


async def redacted(context: RunContext, judgement: Judgement, leaks: Sequence[Leak] = ()) -> Judgement:
    """``judgement`` without ``leaks`` and without whatever else in it looks like a credential."""
    credentials = context.services.credentials
    values = by_length(
        [*secret_values(leaks), *await credentials.values(_texts([judgement.reason, judgement.evidence]))]
    )
    if not values:
        return judgement
    evidence = tuple(hidden(item, values) for item in judgement.evidence)
    return replace(judgement, reason=hide(judgement.reason, values), evidence=evidence)


async def redacted_text(context: RunContext, text: str, leaks: Sequence[Leak] = ()) -> str:
    """``text`` without ``leaks`` and without whatever else in it looks like a credential."""
    values = by_length([*secret_values(leaks), *await context.services.credentials.values([text])])
    return hide(text, values)


async def redact_error(context: RunContext, error: AutoDevError) -> None:
    """Take out of ``error`` what looks like a credential: what a person reads of it may be what a program printed."""
    if values := await context.services.credentials.values([f"{error.where}\n\n{error.what}\n\n{error.mend}"]):
        error.reword(lambda text: hide(text, values))


async def redacted_question(context: RunContext, question: Question) -> Question:
    """``question`` without what looks like a credential: it is shown on every channel."""
    shown = [question.question, question.why, list(question.evidence), list(question.options)]
    values = await context.services.credentials.values(_texts(shown))
    if not values:
        return question
    asked, why, evidence, options = hidden(shown, values)
    return replace(question, question=asked, why=why, evidence=evidence, options=options)


async def redacted_report(context: RunContext, report: Report) -> Report:
    """What an agent says, without what looks like a credential."""
    said = report.model_dump(mode="json")
    values = await context.services.credentials.values(_texts(said))
    return Report.model_validate(hidden(said, values)) if values else report


def hidden(value: Any, values: Sequence[str]) -> Any:
    """JSON without ``values``."""
    if isinstance(value, str):
        return hide(value, values)
    if isinstance(value, dict):
        return {key: hidden(item, values) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(item, values) for item in value]
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return []


async def mended(state: StoryState, context: RunContext) -> Leaving:
    """The run's commits, joined where credentials stand in earlier ones alone: these commits never left this machine.

    Where the head still holds one, or a person accepted it, nothing is changed.
    """
    leaving = Leaving(context, state["base_sha"], state["head_sha"])
    accepted = await accepted_of(context)
    leaks = [leak for leak in await leaving.leaks() if leak.fingerprint not in accepted]
    if not leaks or any(leak.at_head for leak in leaks):
        return leaving
    worktrees = context.services.worktrees
    worktree = await worktrees.create(context.story.id, context.run_id, start_of(state), context.branch)
    message = f"{context.story.id}: {context.story.title}"
    trailers = {"Story": context.story.id, "Run": context.run_id}
    head = await worktrees.join(
        worktree, state["base_sha"], {leak.commit for leak in leaks}, await known_tips(context), message, trailers
    )
    async with context.write() as conn:
        await conn.execute(QUERIES["set_head"], {"run": context.run_id, "head_sha": head})
        await emit(
            conn, context.project, "COMMITS_JOINED", story=context.story.id, run=context.run_id,
            reason="an earlier commit held a credential", sha=head,
        )  # fmt: skip
    return Leaving(context, state["base_sha"], head)
