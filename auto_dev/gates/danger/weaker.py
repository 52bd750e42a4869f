"""Checks that a change takes away or lets more pass: the functions of base and head, condition by condition. Pure.

A check that moved into a function that is called, to a caller or to what stands around all of them is still there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.checks import Check, Scope, read_unit, scopes_of
from auto_dev.gates.danger.guards import tokens
from auto_dev.gates.danger.lattice import Atoms, literals, refuses_less, skeleton
from auto_dev.gates.danger.view import View, is_aside
from auto_dev.gates.syntax.names import names

_WHY: Final = "who may do what is a person's decision"
_ALIKE: Final = 0.6  # of two functions' statements, for the one to be the other renamed
_CALLED: Final = re.compile(r"not [\w.]*(?:compare|timingsafe|constanttime|equal|verify|check)\w*\(", re.IGNORECASE)
_PRIVILEGED: Final = names("admin administrator superuser owner staff root manager fresh mfa moderator")


@dataclass(frozen=True, slots=True)
class _Pair:
    """A file's scopes before and after."""

    view: View
    before: Mapping[str, Scope]
    after: Mapping[str, Scope]


def weaker_acts(views: Sequence[View]) -> Iterator[Act]:
    """What the functions of the changed files refuse no more."""
    pairs = [pair for view in views if (pair := _read(view)) is not None]
    arrived = _arrived(pairs)
    for pair in pairs:
        for old, new in _matched(pair):
            if lost := _lost(old, new, arrived):
                check, how = lost
                name = old.name or "the module"
                line = min(max(new.line, 1), len(pair.view.rows))
                before = (pair.view.before or "").split("\n")
                shown = before[check.line - 1].strip()[:200] if check.line <= len(before) else ""
                title = f"{name} {how}"
                yield Act("access.guard", f"{name}:{check.text[:120]}", title, _WHY, pair.view.path, line, f"- {shown}")
            elif title := _softer(old, new, pairs):
                line = min(max(new.line, 1), len(pair.view.rows))
                yield Act("access.strength", title, title, _WHY, pair.view.path, line, pair.view.shown(line, 2))


def _softer(old: Scope, new: Scope, pairs: Sequence[_Pair]) -> str:
    """What a function of secrets no longer hashes, or draws at random; "" where something it calls does it now."""
    if not old.sensitive:
        return ""
    helpers = [
        scope
        for pair in pairs
        for name, scope in pair.after.items()
        if name not in pair.before and name.rsplit(".", 1)[-1] in new.calls
    ]
    name = old.name or "the module"
    hashes = new.hashes.union(*(one.hashes for one in helpers))
    if old.hashes and not hashes:
        return f"{name} no longer hashes ({', '.join(sorted(old.hashes)[:2])})"
    if {"md5", "sha1"} & hashes - old.hashes and old.hashes:
        return f"{name} hashes in a way that is broken"
    if old.draws and not new.draws.union(*(one.draws for one in helpers)):
        return f"{name} no longer draws at random ({', '.join(sorted(old.draws)[:2])})"
    return ""


def _read(view: View) -> _Pair | None:
    old = view.old_path or view.path
    if is_aside(old) and is_aside(view.path):
        return None
    units = read_unit(old, view.before), read_unit(view.path, view.after)
    if units[0] is None and units[1] is None:
        return None
    before = scopes_of(old, view.before or "", units[0]) if units[0] is not None else {}
    after = scopes_of(view.path, view.after or "", units[1]) if units[1] is not None else {}
    return _Pair(view, before, after)


def _matched(pair: _Pair) -> Iterator[tuple[Scope, Scope]]:
    """The scopes that are still there, renamed ones too."""
    left = [scope for name, scope in pair.before.items() if name not in pair.after and scope.checks]
    free = [scope for name, scope in pair.after.items() if name not in pair.before]
    for name, scope in pair.before.items():
        if name in pair.after:
            yield scope, pair.after[name]
    for scope in left:
        best = max(free, key=lambda other: _likeness(scope, other), default=None)
        if best is not None and _likeness(scope, best) >= _ALIKE:
            free.remove(best)
            yield scope, best


def _likeness(one: Scope, other: Scope) -> float:
    if not one.calls or not other.calls:
        return 0.0
    return len(one.calls & other.calls) / len(one.calls | other.calls)


def _arrived(pairs: Sequence[_Pair]) -> dict[str, list[Scope]]:
    """What is checked somewhere where it was not before: atom or name of a call → the scopes."""
    found: dict[str, list[Scope]] = {}
    for pair in pairs:
        for name, scope in pair.after.items():
            old = pair.before.get(name)
            new = Counter(_marks(scope)) - Counter(_marks(old) if old is not None else ())
            for mark in new:
                found.setdefault(mark, []).append(scope)
    return found


def _marks(scope: Scope) -> list[str]:
    return [atom for check in scope.checks for atom in (*check.core, *((f"call {check.call}",) if check.call else ()))]


def _lost(old: Scope, new: Scope, arrived: Mapping[str, list[Scope]]) -> tuple[Check, str] | None:
    """The first check of ``old`` that ``new`` does not make any more, and what became of it."""
    there = Counter(check.atoms for check in new.checks)
    gone = []
    for check in old.checks:
        if there[check.atoms] > 0:
            there[check.atoms] -= 1
        else:
            gone.append(check)
    fresh = [check for check in new.checks if there[check.atoms] > 0]
    for check in gone:
        if any(one.atoms <= check.atoms for one in fresh):
            continue  # it refuses at least as much
        if how := _became(check, fresh, old, new, arrived):
            return check, how
    return None


def _became(check: Check, fresh: Sequence[Check], old: Scope, new: Scope, arrived: Mapping[str, list[Scope]]) -> str:
    for one in fresh:
        if check.atoms < one.atoms:
            return f"checks less: it refuses only when also {_said(one.atoms - check.atoms)}"
    for one in fresh:
        if (changed := _changed(check, one)) is not None:
            return changed
    if _is_elsewhere(check, old, new, arrived):
        return ""
    if check.call and any(one.call for one in fresh):
        return ""  # another check took its place
    if not check.core or check.core == check.atoms - check.core:
        return ""
    what = f"{check.call}()" if check.call else _said(check.core)
    return f"no longer makes the check {what}" if check.call else f"no longer refuses when {what}"


def _said(atoms: Atoms) -> str:
    return " and ".join(sorted(atoms))[:120]


def _changed(check: Check, one: Check) -> str | None:
    """What one check became of another: "" when it only reads differently, None when they are not the same check."""
    gone, come = check.core - one.core, one.core - check.core
    if check.call and one.call:
        return _changed_call(check, one)
    if len(gone) != 1 or len(come) != 1:
        return None
    before, after = next(iter(gone)), next(iter(come))
    if skeleton(before) == skeleton(after) or (_CALLED.match(before) and _callee(before) == _callee(after)):
        return ""  # renamed, or the same comparison of what has another name
    if (less := refuses_less(before, after)) is not None:
        return f"refuses less: {after[:80]} instead of {before[:80]}" if less else ""
    alike = set(tokens(before)) & set(tokens(after))
    if alike and literals(before) and literals(before) != literals(after) and _frame(before) == _frame(after):
        return f"checks something else: {after[:80]} instead of {before[:80]}"
    return None


def _callee(atom: str) -> str:
    return atom.split("(", 1)[0]


def _frame(atom: str) -> str:
    frame = atom
    for text in literals(atom):
        frame = frame.replace(text, "?")
    return frame


def _changed_call(check: Check, one: Check) -> str | None:
    texts = [literals(next(iter(side.core))) for side in (check, one)]
    if check.call == one.call:
        return f"checks another right: {', '.join(sorted(texts[1])) or 'none'}" if texts[0] != texts[1] else ""
    was, now = (_PRIVILEGED & set(tokens(side.call)) for side in (check, one))
    if was and not now:
        return f"asks {one.call}() where it asked {check.call}()"
    return "" if texts[0] <= texts[1] else None


def _is_elsewhere(check: Check, old: Scope, new: Scope, arrived: Mapping[str, list[Scope]]) -> bool:
    """Whether the check came to where it still holds for this function."""
    marks = [f"call {check.call}"] if check.call else []
    marks += list(check.core)
    for mark in marks:
        for scope in arrived.get(mark, ()):
            last = scope.name.rsplit(".", 1)[-1].split("#")[0]
            around = scope.name == "" or new.name.startswith(f"{scope.name}.")
            called = last in new.calls
            caller = old.name.rsplit(".", 1)[-1] in scope.calls
            if around or called or caller:
                return True
    return False
