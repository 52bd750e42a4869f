"""What reviewers found, judged: a finding counts at a place that exists, and a fault blocks when enough agree on it.

Reviewers are agents, so their word is a claim. Code looks every place up at the head commit; what cannot be found there
is worth a person's look and nothing more. Pure but for the reading of files, which is handed in.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auto_dev.gates.base import Change, Judgement
from auto_dev.gates.evidence import entry, judged
from auto_dev.model import Route, Verdict, money
from auto_dev.report import ReviewFinding, ReviewReport
from auto_dev.text import clean, line

CHANGED: Final = "in the change"
OUTSIDE: Final = "outside of the change"
NOWHERE: Final = "nowhere"

_NEAR: Final = 3  # lines: two findings so close are about the same place
_FAR: Final = 40  # lines: and so close when their titles are alike as well
_ALIKE: Final = 0.4  # of the words of two titles
_SAME: Final = 0.5  # of them, to be taken for one that came before
_DETAIL: Final = 1_500  # characters
_AROUND: Final = 3  # lines of code shown around a place
_WIDTH: Final = 200

_HUNK: Final = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_WORD: Final = re.compile(r"[^\W_]{2,}")
_SMALL_WORDS: Final = frozenset(
    [
        "the",
        "and",
        "for",
        "not",
        "are",
        "was",
        "with",
        "that",
        "this",
        "from",
        "when",
        "does",
        "has",
        "have",
        "its",
        "can",
        "but",
    ]
)


@dataclass(frozen=True, slots=True)
class Former:
    """A fault that blocked an earlier round. ``id``: by which reviewers speak of it."""

    id: str
    title: str
    file: str = ""
    line: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What one reviewer left; without ``report`` the review is missing, and ``problem`` says why."""

    by: str
    report: ReviewReport | None
    problem: str = ""
    cost_microusd: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is reviewed: the changed files, and how to read one at the head and to see what the change did to it.

    ``folders``: where reviewers saw the project; a path that begins with one of them is one of the project's.
    """

    changes: tuple[Change, ...]
    read: Callable[[str], Awaitable[bytes | None]]
    diff: Callable[[str], Awaitable[str]]
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A finding with its place as it was looked up; what of it is not there is empty.

    ``identity``: the former fault that it is, or "".
    """

    finding: ReviewFinding
    where: str
    file: str = ""
    line: int | None = None
    code: str = ""
    identity: str = ""

    @property
    def stops(self) -> bool:
        """Whether it may block: its place is there, and touched by the change or named with a reason."""
        if not self.finding.blocking:
            return False
        return self.where == CHANGED or (self.where == OUTSIDE and bool(self.finding.why_outside.strip()))


@dataclass(frozen=True, slots=True)
class Read:
    """A review whose findings were looked up."""

    review: Review
    placed: tuple[Placed, ...] = ()


@dataclass(slots=True)
class Fault:
    """What reviewers agree on: the findings of it, by the number of the reviewer."""

    found: dict[int, Placed] = field(default_factory=dict)

    @property
    def first(self) -> Placed:
        return next(iter(self.found.values()))

    @property
    def identity(self) -> str:
        return next((one.identity for one in self.found.values() if one.identity), "")


async def place(report: ReviewReport, subject: Subject, former: Sequence[Former] = ()) -> tuple[Placed, ...]:
    """Every finding of ``report`` with its place, those of ``former`` that it calls unresolved among them."""
    found = [await _placed(finding, subject) for finding in report.findings]
    known = [_recognised(one, former) for one in found]
    answers = {answer.id: answer for answer in report.former}
    for fault in former:
        answer = answers.get(fault.id)
        if answer is None or answer.resolved or any(one.identity == fault.id for one in known):
            continue
        finding = ReviewFinding(
            file=fault.file, line=fault.line, title=fault.title, detail=answer.detail or fault.detail, blocking=True,
            why_outside="it was found before and is not mended",
        )  # fmt: skip
        looked = await _placed(finding, subject)
        if looked.where == NOWHERE and not fault.file:
            looked = Placed(finding, CHANGED)  # it had no place before either
        known.append(Placed(finding, looked.where, looked.file, looked.line, looked.code, fault.id))
    if report.blocked and not any(finding.blocking for finding in report.findings):
        words = ReviewFinding(title=line(report.blocked, 200), detail=report.blocked, blocking=True)
        known.append(_recognised(Placed(words, CHANGED), former))
    return tuple(known)


def why_unusable(
    report: ReviewReport | None,
    problem: str,
    placed: Sequence[Placed] = (),
    *,
    receipt: str = "",
    stopped: str = "",
    former: Sequence[Former] = (),
) -> str:
    """Why a reviewer's report says nothing, in one line; "" when it can be used. Pure.

    A fault at a place that is there stands for itself. That all is well must come from somebody who came to the end of
    the turn (``stopped`` is how it was ended, or ""), has read the change to its last line, where its ``receipt``
    stands, and speaks of every former fault.
    """
    if report is None:
        return problem or "it left no report"
    if any(one.stops for one in placed):
        return ""
    if stopped:
        return stopped
    if receipt and receipt not in report.receipt:
        return "its report lacks the receipt at the end of the change, which it has therefore not read"
    answered = {answer.id for answer in report.former} | {one.identity for one in placed}
    if silent := [fault.id for fault in former if fault.id not in answered]:
        return f"its report does not say whether {', '.join(silent)} {'is' if len(silent) == 1 else 'are'} resolved"
    return ""


def judge_reviews(reads: Sequence[Read], quorum: int, former: Sequence[Former] = ()) -> Judgement:
    """The one judgement of all reviews. Pure.

    A fault blocks when ``quorum`` reviewers found it blocking. When none does, but a review is missing that could have
    made one block, or too few are there to reach the quorum, a person is asked. All else is for a person to look at.
    """
    faults = agreed(reads)
    blocking = [fault for fault in faults if len(fault.found) >= quorum]
    minority = [fault for fault in faults if len(fault.found) < quorum]
    missing = [read.review for read in reads if read.review.report is None]
    evidence = [
        *_named(blocking, former, reads),
        *(_entry(fault.first, f"found blocking by {len(fault.found)} of {len(reads)}: ") for fault in minority),
        *(
            _entry(one, _unproven(one))
            for read in reads
            for one in read.placed
            if one.finding.blocking and not one.stops
        ),
        *(_entry(one, "note: ") for read in reads for one in read.placed if not one.finding.blocking),
        *(_statement(read) for read in reads),
    ]
    if blocking:
        count = "a fault that blocks" if len(blocking) == 1 else f"{len(blocking)} faults that block"
        reason = f"the review found {count}: {line(_title(blocking[0].first), 200)}"
        return judged(Verdict.FAIL, reason, Route.REPAIR, evidence, failures=len(blocking))
    decisive = max((len(fault.found) for fault in minority), default=0) + len(missing) >= quorum
    if missing and (decisive or len(reads) - len(missing) < quorum):
        who = "; ".join(f"{one.by}: {one.problem}" for one in missing)
        return judged(Verdict.CONCERNS, f"the review is missing: {line(who, 250)}", Route.ASK, evidence)
    notes = len(evidence) - len(reads)
    if notes or missing:
        said = f"nothing that blocks; {notes} {'finding' if notes == 1 else 'findings'} to look at"
        lost = "; ".join(f"{one.by} left no usable report" for one in missing)
        return judged(Verdict.CONCERNS, f"{said}; {lost}" if lost else said, evidence=evidence)
    who = ", ".join(dict.fromkeys(read.review.by for read in reads))
    return judged(Verdict.PASS, f"{who} found nothing that blocks", evidence=evidence)


def agreed(reads: Sequence[Read]) -> list[Fault]:
    """The faults that reviewers found blocking, each with who found it. Pure.

    Two findings are one fault when they are the same former one, or when they lie in one file and close together, or
    less close with titles alike. A reviewer counts once for a fault.
    """
    faults: list[Fault] = []
    for number, read in enumerate(reads):
        for one in (placed for placed in read.placed if placed.stops):
            fitting = (fault for fault in faults if any(_agree(one, other) for other in fault.found.values()))
            fault = next((each for each in fitting if number not in each.found), None)
            if fault is None:
                fault = Fault()
                faults.append(fault)
            fault.found[number] = one
    return faults


def former_of(evidence: Iterable[Mapping[str, Any]]) -> tuple[Former, ...]:
    """The faults of an earlier round, from the evidence of its verdict."""
    found = []
    for item in evidence:
        if name := str(item.get("identity", "")):
            title = str(item.get("about") or str(item.get("title", "")).removeprefix(f"{name}: "))
            detail = str(item.get("detail") or item.get("excerpt") or "")
            found.append(Former(name, title, str(item.get("file", "")), item.get("line"), detail))
    return tuple(found)


async def _placed(finding: ReviewFinding, subject: Subject) -> Placed:
    for path in _paths(finding.file, subject.folders):
        data = await subject.read(path)
        if data is not None:
            return await _in_file(finding, subject, path, data)
        if any((change.status == "D" and change.path == path) or change.old_path == path for change in subject.changes):
            return Placed(finding, CHANGED, path)  # that it is gone is the change
    return Placed(finding, NOWHERE)


async def _in_file(finding: ReviewFinding, subject: Subject, path: str, data: bytes) -> Placed:
    lines = data.decode("utf-8", "replace").split("\n")
    count = len(lines) - (lines[-1] == "")
    at = finding.line
    if at is None or not 1 <= at <= max(count, 1):
        return Placed(finding, NOWHERE, path)
    touched = any(change.path == path for change in subject.changes) and _touches(await subject.diff(path), at)
    return Placed(finding, CHANGED if touched else OUTSIDE, path, at, _code(lines[:count], at))


def _paths(given: str, folders: Sequence[str]) -> list[str]:
    """The paths of the project that a reviewer may mean, the likeliest first."""
    text = given.strip().strip("`'\"").replace("\0", "")
    for folder in folders:
        text = text.removeprefix(folder.rstrip("/") + "/")
    if not text or text.startswith("/"):
        return []
    path = posixpath.normpath(text)
    if path.startswith("..") or path == ".":
        return []
    # A diff names files "a/…" and "b/…".
    return [path, path[2:]] if path[:2] in ("a/", "b/") and len(path) > 2 else [path]


def _touches(diff: str, at: int) -> bool:
    """Whether the line ``at`` of the new file lies in a hunk of ``diff``, the lines around the change included."""
    for match in _HUNK.finditer(diff):
        start, length = int(match[1]), int(match[2] or 1)
        if start <= at < start + max(length, 1):
            return True
    return diff.rstrip().endswith("bytes …]")  # cut: what follows cannot be told


def _code(lines: Sequence[str], at: int) -> str:
    first = max(at - _AROUND, 1)
    shown = lines[first - 1 : at + _AROUND]
    return "\n".join(
        f"{'>' if first + n == at else ' '}{first + n:5} | {clean(text)[:_WIDTH]}" for n, text in enumerate(shown)
    )


def _recognised(one: Placed, former: Sequence[Former]) -> Placed:
    """``one`` as the former fault that it is: the same file, and a title that says the same."""
    for fault in former:
        if (one.file == fault.file or not fault.file) and _alike(one.finding.title, fault.title) >= _SAME:
            return Placed(one.finding, one.where, one.file, one.line, one.code, fault.id)
    return one


def _agree(one: Placed, other: Placed) -> bool:
    if one.identity and one.identity == other.identity:
        return True
    if one.file != other.file:
        return False
    distance = abs(one.line - other.line) if one.line is not None and other.line is not None else _FAR
    if one.file and distance <= _NEAR:
        return True
    return distance <= _FAR and _alike(one.finding.title, other.finding.title) >= _ALIKE


def _alike(one: str, other: str) -> float:
    first, second = _words(one), _words(other)
    return len(first & second) / len(first | second) if first and second else float(one.strip() == other.strip())


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if word not in _SMALL_WORDS}


def _named(blocking: Sequence[Fault], former: Sequence[Former], reads: Sequence[Read]) -> list[dict[str, Any]]:
    """The faults that block, each under a name that stays its own in later rounds."""
    taken = {fault.id for fault in former}
    number = max((int(name[1:]) for name in taken if re.fullmatch(r"F\d{1,6}", name)), default=0)
    titles = {fault.id: fault.title for fault in former}
    found = []
    for fault in blocking:
        name = fault.identity
        if not name:
            number += 1
            name = f"F{number}"
        by = ", ".join(dict.fromkeys(reads[each].review.by for each in fault.found))
        about, detail = titles.get(name, fault.first.finding.title), line(fault.first.finding.detail, 1_000)
        again = "still there: " if name in titles else ""
        item = _entry(fault.first, f"{name}: {again}", identity=name, about=line(about, 250), detail=detail)
        found.append(item | ({"by": by} if len(reads) > 1 else {}))
    return found


def _entry(one: Placed, before: str, **more: Any) -> dict[str, Any]:
    finding = one.finding
    parts = [
        clean(finding.detail, _DETAIL).strip(),
        f"Criterion: {line(finding.criterion)}" if finding.criterion else "",
        f"Why here: {line(finding.why_outside, 500)}" if finding.why_outside and one.where == OUTSIDE else "",
        f"Named place: {line(f'{finding.file}:{finding.line}', 300)}" if finding.file and one.where == NOWHERE else "",
        one.code,
    ]
    text = "\n".join(part for part in parts if part)
    return entry(f"{before}{line(finding.title, 250)}", file=one.file, at=one.line, excerpt=text, **more)


def _unproven(one: Placed) -> str:
    if one.where == OUTSIDE:
        return "called blocking, but the change did not touch this line and no reason was given: "
    return "called blocking, but its place is not there: "


def _title(one: Placed) -> str:
    place = f" ({one.file}:{one.line})" if one.file and one.line else f" ({one.file})" if one.file else ""
    return f"{one.finding.title}{place}"


def _statement(read: Read) -> dict[str, Any]:
    """What one reviewer said in all: its own evidence."""
    review = read.review
    if review.report is None:
        return entry(f"{review.by}: no usable report", excerpt=clean(review.problem, 1_000))
    blocking = sum(one.finding.blocking for one in read.placed)
    said = f"{blocking} called blocking, {len(read.placed) - blocking} noted"
    cost = f", {money(review.cost_microusd)}" if review.cost_microusd else ""
    return entry(f"{review.by}: {said}{cost}", excerpt=clean(review.report.summary, 2_000))
