"""The one comment that a follow-up leaves: what came back, and what was done about it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from auto_dev.forge.markup import code, inline

_MOST_FILES: Final = 12
_MOST_NOTES: Final = 60


@dataclass(frozen=True, slots=True)
class NoteFact:
    """One thing that came back, and what the agent says that it did about it: a claim.

    ``kind``: "remark" | "check". ``url`` is the forge's own address of it.
    """

    number: str
    kind: str
    title: str
    said: str
    url: str = ""
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What a follow-up did: from ``began`` to ``head``, the changed ``files``, the verdicts of the ``gates``.

    ``resolved``: files that conflicted with ``base``.
    """

    notes: tuple[NoteFact, ...]
    began: str
    head: str
    base: str
    files: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    summary: str = ""
    gates: tuple[tuple[str, str], ...] = ()


def compose_answer(facts: AnswerFacts) -> str:
    """The comment as Markdown that means nothing but its letters."""
    parts = [_what_happened(facts)]
    if facts.notes:
        parts.append("\n".join(_note(note) for note in facts.notes[:_MOST_NOTES]))
    if facts.summary:
        parts.append(f"The agent says: {inline(facts.summary, 800)}")
    parts.append(f"<sub>{_gates(facts.gates)} What stands behind an arrow is the agent's own word.</sub>")
    return "\n\n".join(parts) + "\n"


def _what_happened(facts: AnswerFacts) -> str:
    said = []
    if facts.resolved:
        said.append(f"Put onto the newest {code(facts.base)}; resolved in {_names(facts.resolved)}.")
    if facts.began == facts.head:
        said.append(f"**Nothing was changed**: the branch is still at {code(facts.head[:12])}.")
    elif facts.files:
        said.append(f"Changed up to {code(facts.head[:12])}: {_names(facts.files)}.")
    if any(note.kind == "check" for note in facts.notes) and facts.began != facts.head:
        said.append("The checks run again on the new commit.")
    return " ".join(said) or f"The branch is at {code(facts.head[:12])}."


def _names(files: Sequence[str]) -> str:
    named = ", ".join(code(name, 120) for name in files[:_MOST_FILES])
    return f"{named} and {len(files) - _MOST_FILES} more" if len(files) > _MOST_FILES else named


def _note(note: NoteFact) -> str:
    title = inline(note.title, 200)
    linked = f"[{title}]({note.url})" if _is_address(note.url) else title
    words = f": “{inline(note.said, 120)}”" if note.kind == "remark" else ""
    claims = "; ".join(inline(claim, 300) for claim in note.claims[:6] if claim.strip())
    return f"- {linked}{words}\n  → {claims or '*the agent says nothing about it*'}"


def _is_address(url: str) -> bool:
    return url.startswith(("https://", "http://")) and not set(url) & set(" ()<>\"'\\`\n")


def _gates(gates: Sequence[tuple[str, str]]) -> str:
    if not gates:
        return "No gates."
    open_ = [f"{inline(gate, 60)} {inline(verdict, 20)}" for gate, verdict in gates if verdict != "pass"]
    passed = len(gates) - len(open_)
    return f"Gates on the whole change: {passed} of {len(gates)} passed" + (f" ({', '.join(open_)})." if open_ else ".")
