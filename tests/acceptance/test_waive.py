"""A waiver covers what the person saw, and nothing else."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.acceptance

CONFIG = """
[agent]
kind = "command"
command = ["./agent.sh"]
[run]
repair_attempts = 0
[[gates.command]]
name = "tests"
run = "test ! -e src/A-1.txt"
[gates.scope]
protected_paths = ["src/"]
"""


def test_a_waiver_does_not_let_work_through_whose_commands_never_ran(make_world) -> None:  # type: ignore[no-untyped-def]
    world = make_world({"A-1": []}, config=CONFIG)
    code, out = world.once()
    assert code == 3, out
    (first,) = world.json("decide")["decisions"]
    assert "src/A-1.txt" in str(first["evidence"])
    assert world.run("decide", first["id"], "--answer", "waive", "--text", "src is fine here")[0] == 0
    assert world.once()[0] == 3  # the protected path was waived; the tests, which had not run, fail
    (second,) = world.json("decide")["decisions"]
    assert second["id"] != first["id"]
    assert "tests" in str(second["evidence"])
    assert world.branches() == set()
    assert world.run("decide", second["id"], "--answer", "waive", "--text", "known to be broken")[0] == 0
    assert world.once()[0] == 0
    assert world.branches() == {"auto-dev/A-1"}
    assert world.ledger.read_text().count("A-1 implement") == 1  # nothing was worked on again for that
    body = (world.folder / "home").rglob("pull-request.md")
    text = next(body).read_text()
    assert "src is fine here" in text
    assert "known to be broken" in text
