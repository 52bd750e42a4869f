"""The shipped demo: what a new user sees first works, and goes on when its questions are answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auto_dev.sandbox import probe

pytestmark = pytest.mark.acceptance


def auto_dev(*args: str, cwd: Path, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "auto_dev", *args], cwd=cwd, env={**os.environ, "AUTO_DEV_HOME": str(home)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_plays_asks_and_goes_on(short_tmp: Path) -> None:
    folder = short_tmp / "demo"
    home, checkout = folder / "state", folder / "todo"
    shown = auto_dev("demo", "--dir", str(folder), cwd=short_tmp, home=home)
    assert "Local GitHub stand-in" in shown
    confined = not isinstance(probe.find(os.environ), probe.Problem)
    assert ("commands run in a sandbox" if confined else "No sandbox: agents and commands") in shown
    assert "Completed (5 PRs ready for review):" in shown
    facts: Any = json.loads(auto_dev("status", "--json", cwd=checkout, home=home))
    waiting = {decision["story"]: decision for decision in facts["decisions"]}
    assert set(waiting) == {"TODO-006", "TODO-007"}
    assert {s["id"] for s in facts["stories"] if s["status"] == "blocked"} == {"TODO-008"}
    assert 0 < facts["cost_today_usd"] < facts["daily_budget_usd"]
    assert facts["daemon"] is None
    question = waiting["TODO-006"]["id"]
    auto_dev(
        "decide", question, "--answer", "retry_hint", "--text", "the first save has no file", cwd=checkout, home=home
    )
    chosen = next(option["id"] for option in waiting["TODO-007"]["options"] if option["recommended"])
    auto_dev("decide", waiting["TODO-007"]["id"], "--answer", chosen, cwd=checkout, home=home)
    shown = auto_dev("demo", "--dir", str(folder), "--continue", cwd=short_tmp, home=home)
    assert "Completed (8 PRs ready for review):" in shown
    page = (folder / "pull-requests" / "8.html").read_text("utf-8")
    assert "TODO-008" in page
