"""Does the work fit together with its base as it is now, and with every other story that is open?"""

from __future__ import annotations

import hashlib

from auto_dev.gates.base import Clash, GateContext, Judgement
from auto_dev.gates.evidence import Finding, entry, weighed
from auto_dev.model import Route
from auto_dev.text import line, natural

_HUNKS = 12
_FILES = 30


class IntegrationGate:
    """A conflict with the base goes back to the agent; one with another story is noted with who should go first."""

    name = "integration"

    async def judge(self, context: GateContext) -> Judgement:
        findings: list[Finding] = []
        for clash in await context.clashes():
            findings += _with_story(clash, context) if clash.story else _with_base(clash)
        return weighed(findings, "it merges with its base and with every other open story")


def _with_base(clash: Clash) -> list[Finding]:
    kind = f"a conflict with {clash.branch}"
    rows = [
        entry(f"conflict with {clash.branch}", file=hunk.file, at=hunk.line, excerpt=hunk.text)
        for hunk in clash.hunks[:_HUNKS]
    ]
    shown = {hunk.file for hunk in clash.hunks[:_HUNKS]}
    rows += [entry(f"conflict with {clash.branch}", file=path) for path in clash.files[:_FILES] if path not in shown]
    return [Finding(Route.REPAIR, kind, row) for row in rows]


def _with_story(clash: Clash, context: GateContext) -> list[Finding]:
    mine = _standing(context)
    first, why = order(mine, clash)
    later = clash.story if first == context.story.id else context.story.id
    advice = f"{first} first: {why}; {later} is moved onto it then, or may depend on it (depends_on: [{first}])"
    asks = context.policy.gates.integration.overlaps == "ask"
    mark = hashlib.sha256("\0".join(["integration", clash.story, *sorted(clash.files)]).encode("utf-8", "replace"))
    row = entry(
        f"conflicts with {clash.story} ({line(clash.title, 80)}) in {_named(clash.files)}",
        file=clash.files[0] if clash.files else "",
        excerpt=advice,
        story=clash.story,
        files=list(clash.files[:_FILES]),
        advice=advice,
        fingerprint=mark.hexdigest()[:16],
    )
    if asks and row["fingerprint"] in context.accepted:
        asks = False
    return [Finding(Route.ASK if asks else Route.PROCEED, f"a conflict with the open story {clash.story}", row)]


def order(mine: Clash, other: Clash) -> tuple[str, str]:
    """Which of two stories that conflict should be merged first, and why. Pure.

    Not one that waits for a person; else the more important one; else the one that is in review already; else the older
    one; else the one that is clearly smaller, since the other is then moved onto it with less work; else the one whose
    id is the first.
    """
    if mine.stuck != other.stuck:
        first, last = sorted((mine, other), key=lambda clash: clash.stuck)
        return first.story, f"{last.story} waits for a person"
    if mine.priority != other.priority:
        one, two = sorted((mine, other), key=lambda clash: clash.priority)
        return one.story, f"its priority is {one.priority}, the other's is {two.priority}"
    if bool(mine.pull) != bool(other.pull):
        return (mine if mine.pull else other).story, "it is in review already"
    if mine.created_at and other.created_at and mine.created_at != other.created_at:
        return min(mine, other, key=lambda clash: clash.created_at).story, "it is the older one"
    small, large = sorted((mine, other), key=lambda clash: clash.size)
    if large.size > 2 * small.size:
        return small.story, "it is the smaller one"
    earlier, later = sorted((mine.story, other.story), key=natural)
    return earlier, f"it stands before {later}"


def _standing(context: GateContext) -> Clash:
    """The run's own story, as it stands to the others."""
    story = context.story
    size = sum(change.additions + change.deletions for change in context.changes)
    created = str(story.created_at or "")
    return Clash("", (), story=story.id, priority=story.priority, created_at=created, size=size)


def _named(files: tuple[str, ...]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
