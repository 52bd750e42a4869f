"""The brief holds all that an agent must know, and nothing that breaks it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.brief import compose_brief
from auto_dev.agents.environment import agent_env
from auto_dev.model import Phase
from auto_dev.report import parse_report
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

STORY = Story(
    id="TODO-7",
    title="Due dates",
    path="todo-7.md",
    goal="Tasks can have a due date.",
    context=("See todo.py.",),
    acceptance_criteria=("A date can be given", "Overdue tasks\nare marked"),
    non_goals=("Reminders",),
    stop_conditions=("The file format would have to change",),
    body="## Notes\n\nUse `date`.",
)


def test_the_brief_holds_every_part_of_the_story() -> None:
    brief = compose_brief(
        STORY, Phase.IMPLEMENT, 1, rules="Use tabs.", findings="test_x failed", hint="UTC only", context="1. look"
    )
    parts = (
        "# TODO-7: Due dates", "Tasks can have a due date.", "- See todo.py.", "1. A date can be given",
        "2. Overdue tasks\n   are marked", "- Reminders", "- The file format would have to change", "Use `date`.",
        "Use tabs.", "test_x failed", "UTC only", "1. look", "AUTO_DEV_REPORT", "Never push", "`report`",
    )  # fmt: skip
    for part in parts:
        assert part in brief


def test_empty_parts_leave_no_heading() -> None:
    brief = compose_brief(Story(id="A", title="B", path="a.md"), Phase.IMPLEMENT, 0)
    headings = re.findall(r"^## (.*)$", brief, re.MULTILINE)
    assert headings == ["Rules", "Report"]


def test_each_phase_asks_for_its_own() -> None:
    plan = compose_brief(STORY, Phase.PLAN, 0)
    assert "Do not do it yet" in plan
    assert "Change nothing." in plan
    repair = compose_brief(STORY, Phase.IMPLEMENT, 1, change="-old\n+new ```")
    assert "````diff\n-old\n+new ```\n````" in repair
    assert "your earlier work is there" in compose_brief(STORY, Phase.IMPLEMENT, 2)
    assert "your earlier work is there" not in compose_brief(STORY, Phase.IMPLEMENT, 0)


@pytest.mark.parametrize("phase", [Phase.PLAN, Phase.IMPLEMENT])
def test_the_example_in_the_brief_is_a_report_that_we_accept(phase: Phase) -> None:
    brief = compose_brief(STORY, phase, 0)
    example = brief.split("```json\n")[1].split("```")[0]
    report, problem = parse_report(example.encode())
    assert problem == ""
    assert report is not None
    assert report.confidence is not None
    assert json.loads(example).keys() <= type(report).model_fields.keys()


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(list(Phase)), st.integers(0, 3))
def test_any_text_gives_a_brief_that_can_be_stored_and_sent(text: str, other: str, phase: Phase, number: int) -> None:
    story = Story(id="A", title=text, path="a.md", goal=other, acceptance_criteria=(text, other), body=text)
    brief = compose_brief(story, phase, number, text, other, text, other)
    assert "\0" not in brief
    brief.encode("utf-8")
    assert brief == compose_brief(story, phase, number, text, other, text, other)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_only_listed_names_pass_into_a_childs_environment(base: dict[str, str]) -> None:
    assert agent_env(base, {}).keys() <= {"PATH"} | {k for k in base if k.isupper() or k.lower().endswith("_proxy")}
    secret = dict.fromkeys(("GITHUB_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "X_KEY", "PGHOST"), "canary")
    assert "canary" not in agent_env(base | secret, {}).values() or "canary" in base.values()


def test_what_is_handed_in_passes_and_wins() -> None:
    env = agent_env(
        {"PATH": "/bin", "HOME": "/root", "TMPDIR": "/tmp"}, {"TMPDIR": "/run/t", "AUTO_DEV_PORT_1": "4711"}
    )
    assert env == {"PATH": "/bin", "HOME": "/root", "TMPDIR": "/run/t", "AUTO_DEV_PORT_1": "4711"}
