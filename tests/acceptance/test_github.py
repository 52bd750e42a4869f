"""The real command against GitHub's stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auto_dev.forge.standin import StandIn
from tests.acceptance.conftest import CONFIG

pytestmark = pytest.mark.acceptance

TOKEN = "made-up-token-9b1f"


def test_doctor_asks_github_and_never_shows_the_token(make_world: Any, tmp_path: Path) -> None:
    with StandIn(tmp_path / "github.json", repository="o/r", token=TOKEN) as forge:
        config = CONFIG + f'\n[forge]\nkind = "github"\nrepository = "o/r"\napi_url = "{forge.url}"\n'
        world = make_world({"A-1": []}, config=config, env={"GITHUB_TOKEN": TOKEN})
        _, out = world.run("doctor", "--json")
        found = [each for each in json.loads(out)["findings"] if each["name"] == "forge"]
        assert {each["level"] for each in found} == {"ok"}
        said = " / ".join(each["text"] for each in found)
        assert "o/r can be read; its default branch is main" in said
        assert "pushes go to" in said
        assert TOKEN not in out

        world.env["GITHUB_TOKEN"] = "another-token"
        code, out = world.run("doctor", "--json")
        found = [each for each in json.loads(out)["findings"] if each["name"] == "forge" and each["level"] == "error"]
        assert code == 1
        assert ["does not accept the token" in each["text"] for each in found] == [True]
        assert forge.changes() == []
