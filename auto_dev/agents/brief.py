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
_TASKS: Final = {
    Phase.PLAN: "Plan how to do this story. Do not do it yet: whatever you change in the files is thrown away.\n"
    "Look at the code, then put the plan (steps, files, tests, risks) into the report's `summary`.",
}
_IMPLEMENT: Final = (
    "Do this story, in the folder that you are in. It is yours alone: a git worktree on the story's own branch."
)
_REPAIR: Final = (
    "Go on with this story, in the folder that you are in: your earlier work is there. It did not pass; what was found "
    "is below. Mend the cause. Do not delete, skip or weaken a test to get past a check."
)
_TAKE_OVER: Final = (
    "Go on with this story, in the folder that you are in: another agent's work is there, and it did not get on. What "
    "it tried and what was found is below. Find out why it failed before you change anything, and go another way where "
    "its way leads nowhere. Mend the cause. Do not delete, skip or weaken a test to get past a check."
)

_FOLLOW_UP: Final = (
    "Go on with this story, in the folder that you are in: its work is there, and its pull request waits for review. "
    "Something came back; it is below. Do what is asked as far as it belongs to the story, and nothing else. Do not "
    "delete, skip or weaken a test to get past a check."
)

_RULES: Final = {
    Phase.PLAN: ("Change nothing.",),
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
    *,
    tried: str = "",
    change: str = "",
    takes_over: bool = False,
) -> str:
    """The brief for a turn that plans or implements, as Markdown. A review has one of its own: ``review_brief``.

    ``rules`` is the text of the project's AGENTS.md and the like, ``findings`` what gates found in the round before,
    ``hint`` what a person added, ``context`` the plan, ``follow_up`` what came back on the story's pull request,
    ``tried`` what was tried in all rounds, ``change`` what the story's branch changes so far, ``takes_over``: the work
    so far is another agent's.
    """
    parts = [
        f"# {clean(story.id)}: {one_line(story.title)}",
        _task(phase, round, takes_over=takes_over, follow_up=bool(follow_up)),
        *story_sections(story),
        section("A person says", hint),
        section("What came back on the pull request", follow_up),
        section("What was found in the last attempt", findings),
        section("What was tried so far", tried),
        section("The change so far", change, fence="diff"),
        section("The plan", context),
        section("The project's own rules", rules),
        bullets("Rules", _RULES.get(phase, _RULES[Phase.IMPLEMENT])),
        _report(phase),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def story_sections(story: Story) -> list[str]:
    """What the story itself says."""
    return [
        section("Goal", story.goal),
        bullets("Context", story.context),
        bullets("Acceptance criteria", story.acceptance_criteria, numbered=True),
        bullets("Not wanted", story.non_goals),
        bullets("Stop conditions: if one of these holds, stop and report it", story.stop_conditions),
        section("The story in full", story.body),
    ]


def report_section(example: dict[str, object]) -> str:
    """How the report is left, whatever is in it."""
    return (
        "## Report\n\n"
        "Before you end, write a JSON file to the path in the environment variable `AUTO_DEV_REPORT` (or call the tool "
        "`report`, if you have one). Without it the work does not count as done. Its shape:\n\n"
        f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n\n"
    )


def _task(phase: Phase, round_number: int, *, takes_over: bool, follow_up: bool) -> str:
    if phase in _TASKS:
        return _TASKS[phase]
    if not round_number:
        return _FOLLOW_UP if follow_up else _IMPLEMENT
    return _TAKE_OVER if takes_over else _REPAIR


def _report(phase: Phase) -> str:
    text = report_section(_PLAN_EXAMPLE if phase is Phase.PLAN else _EXAMPLE)
    text += "- `confidence`: 0 to 1, how sure you are that the story is done as asked. It is compared with the facts.\n"
    if phase is Phase.IMPLEMENT:
        text += (
            "- `criteria`: one entry for each acceptance criterion, with evidence that can be checked (a test's name, "
            "a file and line). A test proves a criterion when it fails without your change and passes with it: new "
            "and changed tests are run on both sides.\n"
        )
    return text + (
        "- `decisions`: questions that only a person can answer; `tier` is 1 clarification, 2 preference, 3 unclear "
        "scope, 4 destructive or security-relevant, 5 effects outside the repository.\n"
        "- `blocked`: null, or why you could not go on."
    )


def section(title: str, text: str, *, fence: str = "") -> str:
    """A part with its heading, or "" for an empty one. ``fence``: it is code of that language."""
    body = clean(text, _LONG).strip()
    if not body:
        return ""
    if fence:
        marks = "`" * (max((len(run) for run in re.findall(r"`+", body)), default=2) + 1)
        marks = marks if len(marks) >= 3 else "```"
        body = f"{marks}{fence}\n{body}\n{marks}"
    return f"## {title}\n\n{body}"


def bullets(title: str, items: Sequence[str], *, numbered: bool = False) -> str:
    """A list with its heading, or "" for an empty one."""
    texts = [text for item in items if (text := clean(item, _SHORT).strip())]
    if not texts:
        return ""
    marks = (f"{number}." if numbered else "-" for number in range(1, len(texts) + 1))
    lines = (f"{mark} {text.replace(chr(10), chr(10) + '   ')}" for mark, text in zip(marks, texts, strict=True))
    return f"## {title}\n\n" + "\n".join(lines)


def one_line(text: str) -> str:
    """``text`` cleaned and on one line, whole."""
    return " ".join(clean(text).split())
