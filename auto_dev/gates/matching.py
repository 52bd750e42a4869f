"""Which assertion of a test became which: the same, another expectation, weaker, guarded, or gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from auto_dev.gates.syntax.canon import PARTS
from auto_dev.gates.syntax.names import names
from auto_dev.gates.syntax.strength import Check, Level, weaker
from auto_dev.gates.syntax.suite import Case

_ALIKE: Final = 0.5  # how much of its words an assertion keeps that is still about the same thing
_GUARDS: Final = {
    "if": "it runs only under a condition now",
    "except": "it runs only after an error now",
    "callback": "it runs in a callback that nothing waits for",
}
_IMPLIED: Final = frozenset(("defined", "type", "filled", "has", "runs"))
_PLAIN: Final = names("""
    len str int float list dict set tuple sorted round repr bytes bool type format join encode decode strip
    split lower upper items keys values get json dumps loads string String Sprintf Number parseInt toString
    stringify parse map filter to_string into unwrap clone iter collect as_str as_ref read read_text now today
    range zip enumerate
    """)


@dataclass(frozen=True, slots=True)
class Told:
    """What happened to an assertion. ``new`` None: it is gone. ``how``: why the new one proves less."""

    old: Check
    new: Check | None
    how: str = ""


@dataclass(slots=True)
class Matched:
    """``weak``: proves less; ``changed``: expects something else; ``gone``: without counterpart; ``fresh``: new ones;
    ``pairs``: all that have one.
    """

    weak: list[Told] = field(default_factory=list)
    changed: list[Told] = field(default_factory=list)
    gone: list[Check] = field(default_factory=list)
    fresh: list[Check] = field(default_factory=list)
    pairs: list[tuple[Check, Check]] = field(default_factory=list)


def match(old: Sequence[Check], new: Sequence[Check], *, tabled: bool = False) -> Matched:
    """Pair the assertions of a test. ``tabled``: it became one with a table, where conditions are ordinary. Pure."""
    found = Matched()
    pool = list(new)
    left = [check for check in old if check.counts and check.low]
    for same in (_same, _same_spoken, _same_expected, _same_but_guard):
        left = [check for check in left if not _settle(check, pool, same, found, tabled=tabled)]
    left = [check for check in left if not _about_the_same(check, pool, new, found)]
    left = [check for check in left if not _implied(check, new)]
    for check in _alike(left, pool, found):
        found.gone.append(check)
    found.fresh = [check for check in pool if check.counts and "implied" not in check.guards]
    return found


def missing(matched: Matched, old: Case, news: Sequence[Case]) -> list[Check]:
    """The assertions that are gone and that nothing new stands in for; [] when there is room for all of them."""
    gone = matched.gone
    if any(
        check.level > Level.TRUTH for check in matched.fresh
    ):  # that there is a value at all goes without saying then
        gone = [check for check in gone if check.demanded > Level.DEFINED]
    need = sum(check.low for check in gone) * old.times[0]
    times = max((case.times[1] for case in news), default=1)
    have = sum(check.high * stands_for(check) for check in matched.fresh) * times + _spare(matched, old, times)
    return gone if have < need else []


def lowered(matched: Matched, old: Case, news: Sequence[Case]) -> list[Check]:
    """The assertions that are gone where what is new proves less than they did."""
    if any(check.aspect == "error" for check in matched.fresh):
        return []  # what worked fails now: that cannot be compared
    times = max((case.times[1] for case in news), default=1)
    for level in (Level.EXACT, Level.PATTERN, Level.SHAPE):
        need = sum(check.low for check in matched.gone if check.demanded >= level) * old.times[0]
        have = sum(check.high * stands_for(check) for check in matched.fresh if check.level >= level) * times
        have += _spare(matched, old, times, level)
        if have < need:
            return [check for check in matched.gone if check.demanded >= level]
    return []


def _spare(matched: Matched, old: Case, times: int, level: Level = Level.NOTHING) -> int:
    """For how many more assertions the counterparts stand: one in a loop, in a table, of a whole object."""
    spare = 0
    for before, after in matched.pairs:
        if after.level >= level:
            same = before.signature == after.signature
            many, one = (1, before.high) if same else (stands_for(after), before.low)
            spare += max(after.high * many * times - one * (old.times[1] if same else old.times[0]), 0)
    return spare


def stands_for(check: Check) -> int:
    """For how many plain assertions one may stand, seen kindly."""
    return max(
        {"unknown": 3, "some error": 2, "error": 2, "error text": 3, "error words": 3}.get(check.op, 1), check.parts
    )


def recomputed(old: Check, new: Check) -> frozenset[str]:
    """The functions under test by which ``new`` computes what ``old`` had as a plain value."""
    if not old.constant or new.constant or old.aspect != "value" or new.aspect != "value":
        return frozenset()
    tested = {name for name in old.uses | new.uses if name not in _PLAIN and not name[:1].isupper()}
    return frozenset(new.computes & tested)


def _same(old: Check, new: Check) -> bool:
    return (old.signature == new.signature or _turned(old, new)) and _no_worse(old, new)


def _turned(old: Check, new: Check) -> bool:
    """``a == b`` and ``b == a``."""
    same = old.op == new.op == "eq" and old.negative == new.negative and not old.constant
    return same and (old.subject, old.expected) == (new.expected, new.subject)


def _same_spoken(old: Check, new: Check) -> bool:
    return _spoken(old) == _spoken(new) and _no_worse(old, new)


def _same_expected(old: Check, new: Check) -> bool:
    """The same value is expected, of what has another name now."""
    telling = len(old.expected) > 3 and old.expected not in ("true", "false", "null", "undefined")
    alike = (old.op, old.negative, old.expected, old.tolerance) == (new.op, new.negative, new.expected, new.tolerance)
    return telling and alike and _no_worse(old, new)


def _same_but_guard(old: Check, new: Check) -> bool:
    return old.signature == new.signature or _spoken(old) == _spoken(new)


def _spoken(check: Check) -> tuple[object, ...]:
    return (check.op, check.negative, check.spoken, check.expected, check.tolerance)


def _no_worse(old: Check, new: Check) -> bool:
    return new.counts and not guard_lost(old, new)


def guard_lost(old: Check, new: Check) -> str:
    """What keeps ``new`` from running that did not keep ``old``."""
    added = [guard for guard in new.guards if guard in _GUARDS and guard not in old.guards]
    if not added and len(old.over) == len(new.over):
        return next((how for was, now in zip(old.over, new.over, strict=True) if (how := _narrowed(was, now))), "")
    return _GUARDS[added[0]] if added else ""


def _narrowed(was: str, now: str) -> str:
    """Whether a loop that ran over all of something runs over a part of it."""
    if was == now or was not in now:
        return ""
    rest = now.replace(was, "", 1)
    before = Counter(PARTS.findall(was))
    return f"it runs only over {now[:100]} now" if Counter(PARTS.findall(rest)) - before else ""


def _settle(
    old: Check, pool: list[Check], same: Callable[[Check, Check], bool], found: Matched, *, tabled: bool
) -> bool:
    """Take ``old``'s counterpart out of the ``pool``, when there is one that is the ``same``."""
    for new in pool:
        if same(old, new):
            pool.remove(new)
            found.pairs.append((old, new))
            how = weaker(old, new) or guard_lost(old, new)
            if how and not (tabled and new.counts):
                found.weak.append(Told(old, new, how))
            return True
    return False


def _about_the_same(old: Check, pool: list[Check], new: Sequence[Check], found: Matched) -> bool:
    """What is asserted now about the same subject."""
    here = [check for check in pool if _subject(old, check) and check.aspect == old.aspect]
    best = max(here, key=lambda check: (check.counts, not weaker(old, check), check.level), default=None)
    if best is None:
        return any(_subject(old, one) and one.counts and one.level >= old.level and not weaker(old, one) for one in new)
    how = weaker(old, best)
    if how and covered(old, new):
        return True
    pool.remove(best)
    _tell(old, best, how, found)
    return True


def _tell(old: Check, new: Check, how: str, found: Matched) -> None:
    found.pairs.append((old, new))
    how = how or guard_lost(old, new)
    if how and new.op == "matches" and old.op == "eq" and _whole_pattern(old, new):
        how = ""
    if not how and (names := recomputed(old, new)):
        how = f"what is expected is computed by {', '.join(sorted(names))}, which is under test"
    if how:
        found.weak.append(Told(old, new, how))
    elif old.expected != new.expected or old.negative != new.negative:
        found.changed.append(Told(old, new))


def _whole_pattern(old: Check, new: Check) -> bool:
    """``/^Listening on port \\d+$/``: nearly as much as the text itself, where a part of it is not known before."""
    text = new.expected.strip('"/')
    fixed = "".join(character for character in text if character.isalnum() or character == " ")
    return text.startswith("^") and text.endswith("$") and len(fixed) >= max(12, len(old.expected) // 2)


def _subject(old: Check, new: Check) -> bool:
    if not old.subject:
        return False
    crossed = old.op == "eq" and not old.constant and new.subject in (old.subject, old.expected)
    return crossed or old.subject == new.subject or old.spoken == new.spoken


def covered(old: Check, new: Sequence[Check]) -> bool:
    """Whether a whole object's comparison lives on in those of its members, or a member's in one of the whole."""
    by_name = not any(check.subject == old.subject for check in new)  # else the name may stand for something else now
    least = old.demanded if old.aspect == "calls" else Level.PATTERN
    members = {
        check.subject or check.spoken
        for check in new
        if check.counts
        and check.level >= least
        and (_inside(check.subject, old.subject) or (by_name and _inside(check.spoken, old.spoken)))
    }
    if len(members) >= max(ceil(old.parts / 2), 1):
        return True
    return any(
        check.counts
        and check.level >= least
        and (_inside(old.subject, check.subject) or (by_name and _inside(old.spoken, check.spoken)))
        for check in new
    )


def _inside(member: str, whole: str) -> bool:
    return bool(whole) and member.startswith(whole) and member[len(whole) : len(whole) + 1] in (".", "[")


def _implied(old: Check, new: Sequence[Check]) -> bool:
    """``x is not None`` goes without saying where ``x.name == 3`` is asserted."""
    if old.op in _IMPLIED and not old.negative:
        return any(
            check.counts and (_inside(check.subject, old.subject) or _inside(check.spoken, old.spoken)) for check in new
        )
    return covered(old, new) and old.parts == 1


def _alike(left: Sequence[Check], pool: list[Check], found: Matched) -> list[Check]:
    """Pair what is left by the words of its subject; what has no counterpart comes back."""
    gone: list[Check] = []
    bags = {id(check): _words(check) for check in (*left[:200], *pool[:200])}
    for old in left:
        scored = [
            (_overlap(bags.get(id(old), frozenset()), bags.get(id(check), frozenset())), -index, check)
            for index, check in enumerate(pool)
            if check.aspect == old.aspect and check.op != "unknown"
        ]
        score, _, best = max(scored, key=lambda s: s[:2], default=(0.0, 0, old))
        if score < _ALIKE or best is old:
            gone.append(old)
            continue
        how = weaker(old, best)
        if how and score < 0.75:
            gone.append(old)
            continue
        pool.remove(best)
        _tell(old, best, how, found)
    return gone


def _words(check: Check) -> frozenset[str]:
    text = "".join(
        character if character.isalnum() or character == "_" else " " for character in f"{check.spoken} {check.subject}"
    )
    return frozenset(text.split())


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 0.0
