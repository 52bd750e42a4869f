"""What a person must decide about: data that goes, doors that open, users that break, effects outside.

Tier 4 asks at every level of autonomy; tier 5 as the level says. What a person accepted does not ask again.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Iterable, Sequence

from auto_dev.gates.base import GateContext, Judgement
from auto_dev.gates.danger.access import access_acts, lost_guards
from auto_dev.gates.danger.act import DESTRUCTIVE, Act
from auto_dev.gates.danger.code import code_acts, shell_acts
from auto_dev.gates.danger.contracts import contract_acts
from auto_dev.gates.danger.levels import level_acts
from auto_dev.gates.danger.library import Commit, library_acts
from auto_dev.gates.danger.migrations import created_by, is_migration, migration_acts
from auto_dev.gates.danger.plan import plan_acts
from auto_dev.gates.danger.production import production_acts
from auto_dev.gates.danger.sql import Known, types_in
from auto_dev.gates.danger.view import MOST, View, is_aside, views
from auto_dev.gates.danger.weaker import weaker_acts
from auto_dev.gates.danger.wire import wire_acts
from auto_dev.gates.decisions import ASKED
from auto_dev.gates.evidence import Finding, entry, weighed
from auto_dev.gates.paths import matches
from auto_dev.model import Route
from auto_dev.stories.model import Story

_MOST = 45  # findings that are shown
_FILES = 400  # files that are read; a change of more asks by its size
_MIGRATIONS = 200


class CriticalGate:
    """Reads the changes for acts that are a person's decision."""

    name = "critical"

    async def judge(self, context: GateContext) -> Judgement:
        allow = context.policy.gates.critical.allow
        acts = [act for act in await acts_of(context) if not _allowed(act, allow)]
        return judge_acts(acts, context.policy.decisions.autonomy, context.accepted)


def judge_acts(acts: Iterable[Act], autonomy: str, accepted: frozenset[str] = frozenset()) -> Judgement:
    """The judgement of ``acts``. Pure."""
    unique = {act.fingerprint: act for act in reversed(list(acts))}
    found = list(reversed(unique.values()))
    new = [act for act in found if act.fingerprint not in accepted] or found
    findings = [_finding(act, autonomy) for act in new[:_MOST]]
    asking = [act for act in new[_MOST:] if _asks(act, autonomy)]
    if asking:
        title = f"{len(asking)} more acts of this kind"
        findings.append(Finding(Route.ASK, title, entry(title)))
    return weighed(findings, "nothing that only a person may decide")


def judge_plan(text: str, autonomy: str, accepted: frozenset[str] = frozenset()) -> Judgement:
    """The judgement of a plan's words. Pure."""
    return judge_acts(plan_acts(text), autonomy, accepted)


def _allowed(act: Act, allow: Sequence[str]) -> bool:
    """Whether the owner lets it pass: by its kind, its file, or as this one act."""
    return any(rule in (act.rule, act.fingerprint) or (act.file and matches(rule, act.file)) for rule in allow)


def _asks(act: Act, autonomy: str) -> bool:
    """Whether a person is asked; at the boldest level only about effects outside that cost."""
    if act.tier not in ASKED[autonomy]:
        return False
    return act.tier == DESTRUCTIVE or autonomy != "aggressive" or act.costly


def _finding(act: Act, autonomy: str) -> Finding:
    asks = _asks(act, autonomy)
    row = entry(
        f"tier {act.tier}: {act.title}: {act.why}",
        file=act.file,
        at=act.line or None,
        excerpt=act.excerpt,
        rule=act.rule,
        tier=act.tier,
        fingerprint=act.fingerprint,
        note=None if asks else True,
    )
    return Finding(Route.ASK if asks else Route.PROCEED, act.title, row)


async def acts_of(context: GateContext) -> list[Act]:
    """All acts of the run's changes."""
    shown = await _views(context)
    known = Known(created_by(shown), await _types(shown, context))
    words = _words_of(context.story)
    found: list[Act] = []
    for view in shown:
        await asyncio.sleep(0)  # reading sources takes the processor; let the heartbeat through
        if view.after is not None:
            found += _of_file(view, known, words)
    for read in (production_acts, weaker_acts, level_acts, lost_guards, wire_acts, contract_acts):
        await asyncio.sleep(0)
        found += read(shown)
    base, head = context.base_sha, context.head_sha
    commits = [Commit(sha, frozenset(await context.paths(sha)), context.read) for sha in (base, head)]
    found += await library_acts(shown, commits[0], commits[1], _spelled(words))
    return found


def _of_file(view: View, known: Known, story: str) -> list[Act]:
    found: list[Act] = []
    migration = is_migration(view)
    if migration or view.ending == ".sql":
        found += migration_acts(view, known)
    if view.is_script:
        found += shell_acts(view, known)
    if not migration:
        found += code_acts(view, known, story)
    found += access_acts(view)
    return found


async def _views(context: GateContext) -> list[View]:
    files: list[tuple[str, str, str | None, str | None]] = []
    for change in context.changes:
        old = change.old_path or change.path
        if change.binary or change.mode in ("120000", "160000") or (is_aside(change.path) and is_aside(old)):
            continue
        if len(files) >= _FILES:
            break
        before = await context.read(context.base_sha, old) if change.status != "A" else None
        after = await context.read(context.head_sha, change.path) if change.status != "D" else None
        files.append((change.path, old, _text(before), None if is_aside(change.path) else _text(after)))
    return views(files)


def _text(data: bytes | None) -> str | None:
    return data[: 4 * MOST].decode("utf-8", "replace").replace("\r\n", "\n") if data is not None else None


async def _types(shown: Sequence[View], context: GateContext) -> dict[str, str]:
    """The types of columns as the base's migrations define them, where a changed migration may narrow one."""
    changed = [view for view in shown if is_migration(view) or view.ending == ".sql"]
    if not any(
        "type" in view.code.lower() or "modify" in view.code.lower() or "change_column" in view.code for view in changed
    ):
        return {}
    folders = {posixpath.dirname(view.path) for view in changed} | {
        posixpath.dirname(posixpath.dirname(view.path)) for view in changed
    }
    found: dict[str, str] = {}
    paths = [
        path
        for path in await context.paths(context.base_sha)
        if path.endswith(".sql") and any(path.startswith(f"{folder}/") or not folder for folder in folders)
    ]
    for path in paths[:_MIGRATIONS]:
        data = await context.read(context.base_sha, path)
        found |= types_in(_text(data) or "")
    return found


def _spelled(words: str) -> frozenset[str]:
    """The names that the story spells as code."""
    return frozenset(name for text in re.findall(r"`([^`\n]{1,200})`", words) for name in re.findall(r"\w+", text))


def _words_of(story: Story) -> str:
    return " ".join((story.title, story.goal, *story.acceptance_criteria, *story.context, story.body[:20_000]))
