"""The brief: one text that says to every kind of agent what is wanted, what binds it, and how it must report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from auto_dev.model import Phase
from auto_dev.stories.model import Story
from auto_dev.text import clean

_LONG: Final = 60_000  # characters of one part; a brief stays well within what a model reads at once
_SHORT: Final = 4_000

_EXAMPLE: Final = {
    "summary": "What you did and why, in a few sentences for the reviewer.",
    "confidence": 0.9,
    "criteria": [
        {"criterion": "The criterion's own words", "evidence": ["tests/test_login.py::test_expired", "app.py:42"]}
    ],
    "decisions": [
        {"question": "Which date format?", "options": ["ISO 8601", "local"], "recommended": "ISO 8601", "tier": 2}
    ],
    "blocked": None,
}

_PLAN_EXAMPLE: Final = {
    "summary": "The plan: steps, files, tests, risks.",
    "confidence": 0.8,
    "decisions": [],
    "blocked": None,
}
_REVIEW_EXAMPLE: Final = {
    "summary": "Your findings, the gravest first, each with file and line.",
    "confidence": 0.9,
    "blocked": "The fault that must be mended before a person looks at this; null when there is none.",
}

_TASKS: Final = {
    Phase.PLAN: "Plan how to do this story. Do not do it yet: whatever you change in the files is thrown away.\n"
    "Look at the code, then put the plan (steps, files, tests, risks) into the report's `summary`.",
    Phase.REVIEW: "Review the change below with fresh eyes, as somebody who did not write it. Only read: whatever you "
    "change in the files is thrown away.\nLook for what is wrong, missing, untested or out of scope. Put the findings "
    "into the report's `summary`; if one of them must be mended first, say it in `blocked`.",
}
_IMPLEMENT: Final = (
    "Do this story, in the folder that you are in. It is yours alone: a git worktree on the story's own branch."
)
_REPAIR: Final = (
    "Go on with this story, in the folder that you are in: your earlier work is there. It did not pass; what was found "
    "is below. Mend the cause. Do not delete, skip or weaken a test to get past a check."
)

_FOLLOW_UP: Final = (
    "Go on with this story, in the folder that you are in: its work is there, and its pull request waits for review. "
    "Something came back; it is below. Do what is asked as far as it belongs to the story, and nothing else. Do not "
    "delete, skip or weaken a test to get past a check."
)

_RULES: Final = {
    Phase.PLAN: ("Change nothing.",),
    Phase.REVIEW: ("Change nothing.",),
    Phase.IMPLEMENT: (
        "Stay in the story's scope. What lies outside of it, name in the report.",
        "Add or change tests so that they show each acceptance criterion.",
        "Commit your work or leave it in the folder; both are taken.",
        "Never push, switch or rename the branch, open a pull request or touch the git configuration.",
        "Leave no process running.",
        "If a stop condition holds, or you need a person's decision, stop and say so in the report. Do not guess.",
    ),
}


def compose_brief(
    story: Story,
    phase: Phase,
    round: int,  # noqa: A002 (the contract's word)
    rules: str = "",
    findings: str = "",
    hint: str = "",
    context: str = "",
    follow_up: str = "",
) -> str:
    """The brief for one call of an agent, as Markdown.

    ``rules`` is the text of the project's AGENTS.md and the like, ``findings`` what gates found in former rounds,
    ``hint`` what a person added, ``context`` the plan (phase implement) or the diff (phase review), ``follow_up`` what
    came back on the story's pull request.
    """
    parts = [
        f"# {clean(story.id)}: {_one(story.title)}",
        _task(phase, round, follow_up=bool(follow_up)),
        _section("Goal", story.goal),
        _list("Context", story.context),
        _list("Acceptance criteria", story.acceptance_criteria, numbered=True),
        _list("Not wanted", story.non_goals),
        _list("Stop conditions: if one of these holds, stop and report it", story.stop_conditions),
        _section("The story in full", story.body),
        _section("A person says", hint),
        _section("What came back on the pull request", follow_up),
        _section("What was found in your earlier attempt", findings),
        _section("The change to review" if phase is Phase.REVIEW else "The plan", context, fence=phase is Phase.REVIEW),
        _section("The project's own rules", rules),
        _list("Rules", _RULES.get(phase, _RULES[Phase.IMPLEMENT])),
        _report(phase),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _task(phase: Phase, round_number: int, *, follow_up: bool) -> str:
    if phase in _TASKS:
        return _TASKS[phase]
    if follow_up and not round_number:
        return _FOLLOW_UP
    return _REPAIR if round_number else _IMPLEMENT


def _report(phase: Phase) -> str:
    example = {Phase.PLAN: _PLAN_EXAMPLE, Phase.REVIEW: _REVIEW_EXAMPLE}.get(phase, _EXAMPLE)
    text = (
        "## Report\n\n"
        "Before you end, write a JSON file to the path in the environment variable `AUTO_DEV_REPORT` (or call the tool "
        "`report`, if you have one). Without it the work does not count as done. Its shape:\n\n"
        f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n\n"
        "- `confidence`: 0 to 1, how sure you are that the story is done as asked. It is compared with the facts.\n"
    )
    if phase is Phase.IMPLEMENT:
        text += (
            "- `criteria`: one entry for each acceptance criterion, with evidence that can be checked (a test's name, "
            "a file and line).\n"
        )
    return text + (
        "- `decisions`: questions that only a person can answer; `tier` is 1 clarification, 2 preference, 3 unclear "
        "scope, 4 destructive or security-relevant, 5 effects outside the repository.\n"
        "- `blocked`: null, or why you could not go on."
    )


def _section(title: str, text: str, *, fence: bool = False) -> str:
    body = clean(text, _LONG).strip()
    if not body:
        return ""
    if fence:
        marks = "`" * (max((len(run) for run in re.findall(r"`+", body)), default=2) + 1)
        marks = marks if len(marks) >= 3 else "```"
        body = f"{marks}diff\n{body}\n{marks}"
    return f"## {title}\n\n{body}"


def _list(title: str, items: Sequence[str], *, numbered: bool = False) -> str:
    texts = [text for item in items if (text := clean(item, _SHORT).strip())]
    if not texts:
        return ""
    marks = (f"{number}." if numbered else "-" for number in range(1, len(texts) + 1))
    lines = (f"{mark} {text.replace(chr(10), chr(10) + '   ')}" for mark, text in zip(marks, texts, strict=True))
    return f"## {title}\n\n" + "\n".join(lines)


def _one(text: str) -> str:
    return " ".join(clean(text).split())
