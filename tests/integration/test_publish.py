"""Publishing through the daemon: one draft per story, whose text tells what happened and spares what people wrote."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from auto_dev import config as configuration
from auto_dev.errors import ExitCode
from auto_dev.forge.marks import BEGIN
from auto_dev.forge.standin import StandIn

pytestmark = pytest.mark.integration

TOKEN = "made-up-token"
CONFIG = """
[forge]
kind = "github"
repository = "o/r"
api_url = "{url}"
[setup]
command = "true"
[[gates.command]]
name = "tests"
run = "test -e src/A-1.txt || test ! -e src"
"""
Make = Callable[[dict[str, list[str]]], tuple[Any, StandIn]]


@pytest.fixture
def published(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """``published({"A-1": []})``: a project with a bare remote, and the stand-in that knows its branches."""
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with ExitStack() as stack:

        def make(stories: dict[str, list[str]]) -> tuple[Any, StandIn]:
            remote = tmp_path / "remote.git"
            standin = StandIn(tmp_path / "github.json", repository="o/r", token=TOKEN, git_dir=remote)
            stack.enter_context(standin)
            made = project(stories, CONFIG.format(url=standin.url))
            for command in (
                ["clone", "-q", "--bare", str(made.root), str(remote)],
                ["remote", "add", "origin", str(remote)],
                ["fetch", "-q", "origin"],
            ):
                subprocess.run(["git", *command], cwd=made.root, check=True, capture_output=True)
            return made, standin

        yield make


async def test_the_text_tells_what_happened(published: Make) -> None:
    made, standin = published({"A-1": []})
    assert await made.once() is ExitCode.DONE
    [pull] = standin.pulls()
    body = pull["body"]
    assert (pull["draft"], pull["title"], pull["labels"]) == (True, "A-1: Do A-1", ["auto-dev"])
    assert body.startswith(BEGIN)
    for part in (
        "> A file.",
        "| there it is |",
        "gates passed</summary>",
        "`src/A-1.txt` (+1 −0)",
        "<summary>Cost and time</summary>",
        "| implement |",
        "| verify |",
        "git fetch origin auto-dev/A-1",
        "true\ntest -e src/A-1.txt",
    ):
        assert part in body, part


async def test_a_second_run_renews_the_same_draft_and_spares_what_people_wrote(published: Make) -> None:
    made, standin = published({"A-1": []})
    assert await made.once() is ExitCode.DONE
    [first] = standin.pulls()
    standin.act(1, "ready")
    standin.state.patch(1, {"title": "A file, at last", "body": f"Kim looks at it.\n\n{first['body']}\n\n- [x] read"})
    standin.state.add_labels(1, {"labels": ["needs-kim"]})
    async with made.open(order=False) as daemon:
        await made.control(daemon).retry("A-1", configuration.load(made.root), "main")
        assert await daemon.serve() is ExitCode.DONE
    [second] = standin.pulls()
    assert (second["number"], second["draft"], second["title"]) == (1, False, "A file, at last")
    assert second["labels"] == ["auto-dev", "needs-kim"]
    assert second["body"].startswith(f"Kim looks at it.\n\n{BEGIN}\n")
    assert second["body"].endswith("- [x] read")
    runs = [row["id"] for row in await made.fetch("SELECT id FROM runs ORDER BY attempt")]
    assert f"run={runs[0]} " in first["body"]
    assert f"run={runs[1]} " in second["body"]
    assert runs[0] not in second["body"]
