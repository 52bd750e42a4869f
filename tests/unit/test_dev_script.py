"""``./dev`` hands its arguments on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("group", ["agents", "peers"])
def test_names_after_the_group_reach_the_installer(group: str) -> None:
    done = subprocess.run(
        [ROOT / "dev", group, "nonesuch", "another"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "there is no 'nonesuch'" in done.stderr
