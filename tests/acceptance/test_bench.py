"""The benchmark runs as it is documented; its figures are for a machine that has nothing else to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SMALL = ("--stories", "2", "--parallel", "2", "--files", "9", "--chain", "2", "--alone", "1")


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_the_benchmark_of_the_overhead_prints_every_figure() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "overhead", *SMALL], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"ratio +[\d.]+", done.stdout)
    assert re.search(r"unblock latency, one chain .* p95 +\d+ ms", done.stdout)
    assert re.search(r"one at a time +[\d.]+ ms a story: git [\d.]+, agent process (?!0\.0)[\d.]+", done.stdout)
