"""Words and values of the command line that need no process."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from auto_dev.agents.registry import CLIS
from auto_dev.budget.limits import Window
from auto_dev.commands.budget import scope_of, window_facts
from auto_dev.commands.checks import Checked, check_key, check_price, check_sandbox, vendor_of
from auto_dev.commands.doctor import program_in
from auto_dev.commands.init import HOSTS, compose, told
from auto_dev.commands.start import Flags, closing_line, ready_line, sandbox_line
from auto_dev.config import Config, SandboxConfig, complaint, parse
from auto_dev.daemon.outcome import Outlook, exit_code
from auto_dev.errors import AgentError, AutoDevError, ConfigError, ExitCode, UsageError
from auto_dev.model import Scope
from auto_dev.nodes.ask import criteria_in
from auto_dev.sandbox.hosts import PRESETS

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("it broke", "here: it broke. Mend it."),
        ("it broke.", "here: it broke. Mend it."),
        ("which one?", "here: which one? Mend it."),
        ("and so on…", "here: and so on… Mend it."),
        ("two\nlines", "here: two lines. Mend it."),
    ],
)
def test_an_error_is_one_line_of_sentences(what: str, line: str) -> None:
    assert str(AutoDevError(what, where="here", mend="Mend it.")) == line


def test_one_value_is_judged_by_itself() -> None:
    assert "greater than or equal to 0 (given: -1)" in complaint("budget", "daily", -1)
    assert "'slack', 'email' or 'apprise'" in complaint("notify", "channels", ["slack", "pigeon"])
    assert complaint("notify", "channels", ["email"]) == ""  # whether an address is configured is another question
    assert complaint("run", "schedule", "22:00-06:00") == ""


def test_flags_become_configuration_and_a_wrong_one_is_named() -> None:
    flags = Flags(None, daily_budget=5, notify="slack, email", schedule="08:00-18:00")
    assert flags.overrides() == {
        "budget": {"daily": 5}, "run": {"schedule": "08:00-18:00"}, "notify": {"channels": ["slack", "email"]},
    }  # fmt: skip
    assert Flags(None, notify="").overrides() == {"notify": {"channels": []}}
    with pytest.raises(UsageError, match=r"^--max-parallel: "):
        Flags(None, max_parallel=1000).overrides()


@pytest.mark.parametrize(
    ("text", "criteria"),
    [
        ("it works", ("it works",)),
        ("one\n\n  two  words \n", ("one", "two words")),
        ("- one\n- two: three", ("one", "two: three")),
        ("1. one\n2. two\n   and more", ("one", "two and more")),
        ("[ ] one\n[x] two\n[ ] one", ("one", "two")),
        ("- [ ] one\n- [x] two", ("one", "two")),
    ],
)
def test_a_persons_criteria_are_list_items_or_lines(text: str, criteria: tuple[str, ...]) -> None:
    assert criteria_in(text) == criteria


def test_the_first_and_the_last_line_count_what_there_is() -> None:
    assert ready_line({"queued": 1}) == "Found 1 story ready to start"
    statuses = {"queued": 2, "blocked": 1, "invalid": 3, "in_review": 4}
    assert ready_line(statuses) == (
        "Found 2 stories ready to start, 1 more depends on others (4 in review, 3 held back by an error)"
    )
    assert closing_line(statuses, "the budget is reached") == (
        "Ended: 4 in review, 3 held back by an error, 1 blocked by others, 2 not started (the budget is reached)."
    )
    assert closing_line({"waiting": 1}, "") == "Ended: 1 waiting for you. `auto-dev decide` shows what waits for you."
    assert closing_line({}, "") == "Ended: nothing to do."


@pytest.mark.parametrize(
    ("which", "scope", "meant"),
    [
        ("day", None, (Scope.DAY, "")),
        ("Weekly", None, (Scope.WEEK, "")),
        (None, "week", (Scope.WEEK, "")),
        ("week", "week", (Scope.WEEK, "")),
        ("A-1", None, (Scope.STORY, "A-1")),
        ("A-1", "story", (Scope.STORY, "A-1")),
        ("week", "story", (Scope.STORY, "week")),  # a story of that name
        ("story", "story", (Scope.STORY, "story")),
    ],
)
def test_which_limit_is_meant(which: str | None, scope: str | None, meant: tuple[Scope, str]) -> None:
    assert scope_of(which, scope) == meant


@pytest.mark.parametrize(
    ("which", "scope"),
    [(None, None), (None, "story"), ("story", None), ("", "story"), ("A-1", "day"), ("day", "week"), ("day", "year")],
)
def test_an_unclear_limit_is_asked_about(which: str | None, scope: str | None) -> None:
    with pytest.raises(UsageError):
        scope_of(which, scope)


def test_a_windows_facts_are_exact_in_micro_dollars() -> None:
    window = Window(Scope.DAY, "2026-02-09", 50_000_000, 12_345_678, 1_000_001, 1)
    facts = window_facts(window, 0.8)
    assert facts["spent_microusd"] == 12_345_679  # with what was billed beyond a reservation
    assert facts["left_microusd"] == 50_000_000 - 12_345_679 - 1_000_001
    assert (facts["alert_microusd"], facts["overrun_microusd"], facts["cap_usd"]) == (40_000_000, 1, 50.0)
    assert window_facts(Window(Scope.STORY, "A-1", 10), 0.8)["alert_microusd"] is None


def test_what_is_held_up_is_not_done() -> None:
    assert exit_code(Outlook(busy=0)) is ExitCode.DONE
    assert exit_code(Outlook(busy=0, held=1)) is ExitCode.ERROR
    assert exit_code(Outlook(busy=0, held=1, budget=1)) is ExitCode.BUDGET
    assert exit_code(Outlook(busy=0, held=1, decisions=1)) is ExitCode.WAITS


def agent(**section: Any) -> Config:
    return Config.model_validate({"agent": section})


@pytest.mark.parametrize(
    ("section", "vendor"),
    [
        ({"kind": "claude-code"}, "anthropic"),
        ({"kind": "codex", "model": "gpt-5.1"}, "openai"),
        ({"kind": "opencode", "model": "anthropic/claude-sonnet-4-5"}, "anthropic"),
        ({"kind": "aider", "model": "o3"}, "openai"),
        ({"kind": "chat", "model": "openai:gpt-5"}, "openai"),
        ({"kind": "opencode", "model": "google/gemini-2.5-pro"}, "gemini"),
        ({"kind": "aider", "model": "my-own"}, None),
        ({"kind": "command", "command": ["./agent.sh"]}, None),
    ],
)
def test_whose_models_an_agent_asks_for(section: dict[str, Any], vendor: str | None) -> None:
    assert vendor_of(agent(**section).agent) == vendor


def test_a_key_is_needed_where_the_providers_own_service_is_asked() -> None:
    own = agent(kind="claude-code")
    check_key(own, {"ANTHROPIC_API_KEY": "k"}.get)
    with pytest.raises(AgentError, match=r"ANTHROPIC_API_KEY is not set.*keyring set auto-dev ANTHROPIC_API_KEY"):
        check_key(own, {"OPENAI_API_KEY": "k"}.get)
    proxy = Config.model_validate({"agent": {"kind": "codex"}, "gateway": {"openai_url": "http://127.0.0.1:1234"}})
    for needless in (proxy, agent(kind="claude-code", mode="subscription"), agent(kind="command", command=["x"])):
        check_key(needless, lambda _name: None)


def test_a_configured_model_needs_a_price() -> None:
    for model in ("claude-sonnet-4-5", "openai/gpt-5", "claude-sonnet-4-5[1m]", "sonnet", "opus[1m]"):
        check_price(agent(kind="claude-code", model=model))
    with pytest.raises(ConfigError, match=r'agent\.model: .*\[budget\.prices\."my-own"\]') as refused:
        check_price(agent(kind="opencode", model="my-own"))
    assert refused.value.exit_code is ExitCode.ERROR  # not that of a limit that is reached
    priced = {
        "agent": {"kind": "opencode", "model": "my-own"},
        "budget": {"prices": {"my-own": {"input": 0, "output": 0}}},
    }
    check_price(Config.model_validate(priced))


@pytest.mark.parametrize("kind", ["", *CLIS])
def test_what_init_writes_is_what_is_accepted(kind: str) -> None:
    found = {"base_branch": "main", "stories": "plans", "commands": {"tests": "make test"}, "setup": "make",
             "agent": kind, "repository": "", "hosts": ["pypi", "npm"]}  # fmt: skip
    config = parse(compose(found), "auto-dev.toml")
    assert config.agent.kind == (kind or "command")
    assert [one.kind for one in config.reviewers] == ([kind] if kind else []), "a program of one's own must know how"
    assert config.sandbox.allow_hosts == ["pypi", "npm"]
    assert parse(compose({**found, "hosts": []}), "auto-dev.toml").sandbox.allow_hosts == []


def test_every_preset_that_init_knows_exists() -> None:
    assert HOSTS.keys() <= PRESETS.keys()


def test_what_init_found_is_told_in_words() -> None:
    found = {"base_branch": "main", "stories": "", "commands": {}, "setup": "", "agent": "", "repository": "a/b",
             "hosts": ["pypi", "npm"]}  # fmt: skip
    said = told(found)
    assert "hosts let through: pypi, npm" in said
    assert "forge: GitHub, a/b" in said
    assert any(line.startswith("gates: none found") for line in said)
    assert not any(mark in line for line in said for mark in "{}")


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("pytest -q", "pytest"),
        ("FOO=1 BAR='x' uv run pytest", "uv"),
        ("cd sub && make", ""),
        ("./gradlew test", ""),
        ("$TOOL x", ""),
        ("(a; b)", ""),
        ("", ""),
    ],
)
def test_the_program_of_a_shell_command_is_only_told_where_it_is_certain(command: str, program: str) -> None:
    assert program_in(command) == program


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"allow_hosts": ["pypy"]}, "sandbox.allow_hosts: there is no preset 'pypy'. Did you mean 'pypi'?"),
        ({"allow_hosts": ["nexus"]}, 'A host without a dot needs its port: "nexus:8080".'),
        ({"read": ["/etc"]}, "sandbox.read: '/etc': this is not given to a box. Name a folder further below."),
        ({"write": ["~"]}, "sandbox.write: '~': a whole home folder holds keys"),
        ({"read": ["/no/such/folder"]}, r"sandbox.read: '/no/such/folder': a box needs this path, but: No such file"),
        ({"write": ["cache"]}, "a box takes absolute paths"),
    ],
)
def test_what_no_box_is_given_is_told_before_anything_starts(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_sandbox(SandboxConfig.model_validate(given))
    assert told in str(refused.value)


def test_hosts_of_a_kind_that_may_be_named_pass() -> None:
    check_sandbox(SandboxConfig.model_validate({"allow_hosts": ["pypi", "a.example", "nexus:8081", "[::1]:80"]}))


def test_start_says_what_agents_may_reach() -> None:
    config = Config.model_validate({"sandbox": {"allow_hosts": ["pypi"]}})
    assert sandbox_line(Checked(config, Mock(), confined=True)).endswith("no network but the model and pypi")
    assert "your own rights" in sandbox_line(Checked(config, Mock()))
