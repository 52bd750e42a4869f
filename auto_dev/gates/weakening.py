"""How a test checks less: skipped, emptied, fewer or weaker assertions, fewer rows, mocked, made to wait."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.matching import Told, lowered, match, missing
from auto_dev.gates.syntax.names import names
from auto_dev.gates.syntax.strength import Check
from auto_dev.gates.syntax.suite import Case
from auto_dev.model import Route

_SCOPES: Final = re.compile(r"^(?:module|class|describe): ")
_TIMES: Final = 10.0  # a wait that grew so much is no fine tuning
_RETRIES: Final = frozenset(("retry", "retries", "flaky", "repeat"))
_CLEANUP: Final = names("""
    close aclose unlink remove rmtree rm rmdir kill terminate wait stop cancel shutdown disconnect delete cleanup join
    sleep print log destroy unmount release quit exit end str len int list dict set
    """)
_SHOWN: Final = 6
_VALUES: Final = re.compile(r'"([^"]{0,80})"|(?<![\w.])(\d[\w.]*)')
_NAMES: Final = re.compile(r"[A-Za-z_$][\w$]{2,}")
_AFFIX: Final = re.compile(r"[._-](?:test|tests|spec|cy|e2e)$")


@dataclass(frozen=True, slots=True)
class Loss:
    """One way in which a test checks less. ``PROCEED``: it is only to be seen."""

    route: Route
    kind: str
    detail: str
    before: str = ""
    after: str = ""
    line: int = 0


def compare(
    old: Case, new: Case, parts: Sequence[Case] = (), *,
    imports: Mapping[str, str] | None = None, stem: str = "", elsewhere: Sequence[Check] = (),
) -> list[Loss]:  # fmt: skip
    """What ``new`` (with the tests that were split off from it) checks less than ``old``. Pure.

    ``imports``: name → module, and ``stem``: the name of the test file, tell whether a mocked module is the one under
    test.
    """
    lost = _skips(old, new)
    if any(loss.route is not Route.PROCEED for loss in lost):
        return lost
    if new.empty and not old.empty and not parts:
        return [Loss(Route.REPAIR, "test emptied", new.name, old.excerpt, new.excerpt, new.line)]
    lost += _rows(old, new, parts)
    lost += _mocks(old, new, imports or {}, stem)
    lost += _waits(old, new)
    lost += _swallows(old, new)
    return lost + checks_lost(old, new, parts, elsewhere)


def checks_lost(old: Case, new: Case, parts: Sequence[Case] = (), elsewhere: Sequence[Check] = ()) -> list[Loss]:
    """The assertions that are gone, weaker, or expect something else. ``elsewhere``: those of new tests."""
    news = (new, *parts)
    matched = match(old.checks, [check for case in news for check in case.checks], tabled=len(new.rows) > len(old.rows))
    lost = [_weakened(new, told) for told in matched.weak]
    moved = {(*check.signature[:2], check.spoken, check.expected) for check in elsewhere if check.counts}
    matched.gone = [
        c for c in matched.gone if (*c.signature[:2], c.spoken, c.expected) not in moved and not _uncalled(c, news)
    ]
    if gone := missing(matched, old, news):
        lost.append(_gone("assertions removed from a test", new, gone, matched.fresh))
    elif gone := lowered(matched, old, news):
        lost.append(_gone("assertions replaced by weaker ones", new, gone, matched.fresh))
    elif exchanged := [check for check in matched.gone if not _lives_on(check, news)]:
        lost.append(_listed(Route.PROCEED, "assertions of a test were exchanged", new, exchanged, matched.fresh))
    changed = [told for told in matched.changed if not _wider(told)]
    changed = [told for told in changed if told.new is None or told.new.constant or not _lives_on(told.old, news)]
    if changed:
        lost.append(_expects(new, changed))
    return lost


def _uncalled(check: Check, news: Sequence[Case]) -> bool:
    """Whether it said that a call goes well which the test does not make any more."""
    if check.op != "eq" or check.expected != "null" or not check.uses:
        return False
    return not any(name in case.words for name in check.uses for case in news)


def _lives_on(check: Check, news: Sequence[Case]) -> bool:
    """Whether what ``check`` expected still stands in the test: in a table, a variable, a helper's arguments."""
    values = [string or number for string, number in _VALUES.findall(check.expected)]
    names = _NAMES.findall(_VALUES.sub("", check.expected))
    if not values and not names:
        return any(case.rows for case in news)
    return all(any(f"'{value}'" in case.words for case in news) for value in values) and all(
        any(name in case.words for case in news) for name in names
    )


def _wider(told: Told) -> bool:
    """Whether the new expectation holds the old one: one comparison of several values at once."""
    new = told.new
    if new is None or new.parts <= told.old.parts:
        return False
    values = {string or number for string, number in _VALUES.findall(told.old.expected)}
    return bool(values) and values <= {string or number for string, number in _VALUES.findall(new.expected)}


def _weakened(new: Case, told: Told) -> Loss:
    after = told.new.text if told.new is not None else ""
    line = told.new.line if told.new is not None else new.line
    return Loss(Route.REPAIR, "assertion weakened", f"{new.name}: {told.how}", told.old.text, after, line)


def _gone(kind: str, new: Case, gone: Sequence[Check], fresh: Sequence[Check]) -> Loss:
    return _listed(Route.REPAIR, kind, new, gone, fresh)


def _listed(route: Route, kind: str, new: Case, gone: Sequence[Check], fresh: Sequence[Check]) -> Loss:
    before = "\n".join(dict.fromkeys(check.text for check in gone[:_SHOWN]))
    after = "\n".join(dict.fromkeys(check.text for check in fresh[:_SHOWN]))
    more = f", and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
    return Loss(route, kind, f"{new.name}: {len(gone)} gone{more}, {len(fresh)} new", before, after, new.line)


def _expects(new: Case, changed: Sequence[Told]) -> Loss:
    before = "\n".join(dict.fromkeys(told.old.text for told in changed[:_SHOWN]))
    after = "\n".join(dict.fromkeys(told.new.text for told in changed[:_SHOWN] if told.new is not None))
    line = changed[0].new.line if changed[0].new is not None else new.line
    count = f" ({len(changed)} assertions)" if len(changed) > 1 else ""
    return Loss(Route.PROCEED, "a test expects something else", f"{new.name}{count}", before, after, line)


def _skips(old: Case, new: Case) -> list[Loss]:
    before, after = (Counter(_SCOPES.sub("", skip) for skip in case.skips) for case in (old, new))
    gone = Counter(_kind(skip) for skip in (before - after).elements())
    lost: list[Loss] = []
    added: list[str] = []
    for skip in (after - before).elements():
        kind = _kind(skip)
        other = kind if gone[kind] > 0 else next((one for one in gone if gone[one] > 0), "")
        if other and _conditional(skip):
            gone[other] -= 1
            lost.append(Loss(Route.PROCEED, "another condition skips a test", f"{new.name}: {skip}", line=new.line))
        else:
            added.append(skip)
    if added:
        lost.append(
            Loss(
                Route.REPAIR, "test skipped", f"{new.name}: {', '.join(added[:5])}", old.excerpt, new.excerpt, new.line
            )
        )
    return lost


def _conditional(skip: str) -> bool:
    return " if " in skip or skip.startswith(("if ", "not if ")) or re.search(r"\([^)]", skip) is not None


def _kind(skip: str) -> str:
    """A skip without its condition."""
    return skip.split(" if ")[0].split("(", 1)[0].strip()


def _rows(old: Case, new: Case, parts: Sequence[Case]) -> list[Loss]:
    """Rows of a table that are gone or changed."""
    now = [row for case in (new, *parts) for row in case.rows]
    if not old.rows or not now:
        return []
    gone = list((Counter(old.rows) - Counter(now)).elements())
    come = list((Counter(now) - Counter(old.rows)).elements())
    gone = [row for row in gone if not any(_grown(row, other) for other in come)]
    if not gone:
        return []
    before, after = "\n".join(gone[:_SHOWN]), "\n".join(come[:_SHOWN])
    if len(now) < len(old.rows):
        detail = f"{new.name}: {len(old.rows)} before, {len(now)} now"
        return [Loss(Route.REPAIR, "rows removed from the table of a test", detail, before, after, new.line)]
    return [Loss(Route.PROCEED, "rows of a table were changed", f"{new.name} ({len(gone)})", before, after, new.line)]


def _grown(row: str, other: str) -> bool:
    """Whether ``other`` says all that ``row`` does: a column was added."""
    return set(row.strip("()[]{}").split(", ")) <= set(other.strip("()[]{}").split(", "))


def _mocks(old: Case, new: Case, imports: Mapping[str, str], stem: str) -> list[Loss]:
    """What is under test is replaced by a mock."""
    tested = frozenset(name for check in old.checks if check.aspect != "calls" for name in check.uses)
    lost: list[Loss] = []
    for name in sorted(new.mocks - old.mocks):
        module = name.removeprefix("module ") if name.startswith("module ") else ""
        if module:
            same = posixpath.basename(module).split(".")[0] == _AFFIX.sub("", stem.rsplit(".", 1)[0])
            used = {used for used, source in imports.items() if source == module} & tested
            if same or used:
                lost.append(
                    Loss(
                        Route.REPAIR,
                        "what is under test is mocked",
                        f"{new.name}: {module}",
                        old.excerpt,
                        new.excerpt,
                        new.line,
                    )
                )
        elif name in tested:
            lost.append(
                Loss(
                    Route.REPAIR,
                    "what is under test is mocked",
                    f"{new.name}: {name}",
                    old.excerpt,
                    new.excerpt,
                    new.line,
                )
            )
    return lost


def _swallows(old: Case, new: Case) -> list[Loss]:
    """What failed the test when it failed does not any more."""
    fresh = new.swallows - old.swallows
    names = sorted(name for name in fresh if name in old.bones and name not in _CLEANUP)
    if "recover" in fresh:
        names.append("a panic")
    if not names:
        return []
    detail = f"{new.name}: {', '.join(names[:5])}"
    return [Loss(Route.REPAIR, "a failure is swallowed", detail, old.excerpt, new.excerpt, new.line)]


def _waits(old: Case, new: Case) -> list[Loss]:
    """Sleeps, time-outs and retries that grew out of all proportion."""
    before: dict[str, float] = {}
    for what, amount, _ in old.waits:
        before[what] = max(before.get(what, 0.0), amount)
    lost: list[Loss] = []
    for what, amount, line in new.waits:
        was = before.get(what, 0.0)
        retries = what in _RETRIES and amount > 1 and amount >= 3 * max(was, 1)
        fewer = what == "examples" and was > 0 and amount * 5 <= was
        if retries or fewer or (what not in _RETRIES and what != "examples" and was > 0 and amount >= _TIMES * was):
            detail = f"{new.name}: {what} {was:g} → {amount:g}"
            kind = (
                "fewer examples are tried" if fewer else "a test is retried" if retries else "a test waits much longer"
            )
            lost.append(Loss(Route.REPAIR, kind, detail, line=line))
    return lost[:3]
