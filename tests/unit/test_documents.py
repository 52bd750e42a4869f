"""What the documents say is true: schema, commands, links, configuration."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from auto_dev import cli, config
from auto_dev.report import Report, read_report

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_published_schema_is_the_configuration() -> None:
    published = json.loads((ROOT / "docs" / "auto-dev.schema.json").read_text("utf-8"))
    assert published == config.schema(), "write it anew: json.dumps(auto_dev.config.schema(), indent=1)"


def test_the_configuration_page_is_a_configuration() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    block = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    parsed = config.parse(block, "docs/configuration.md")
    shown = {section: set(keys) for section, keys in tomllib.loads(block).items()}
    for section in (
        "project",
        "agent",
        "budget",
        "sandbox",
        "gateway",
        "run",
        "setup",
        "gates",
        "decisions",
        "forge",
        "notify",
    ):
        fields = type(getattr(parsed, section)).model_fields
        names = {field.alias or name for name, field in fields.items()}
        assert shown[section] == names, f"[{section}]"


def test_the_report_of_the_page_on_agents_is_a_report(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "agents.md").read_text("utf-8")
    shown: set[str] = set()
    for number, block in enumerate(re.findall(r"```json\n(.*?)```", page, re.DOTALL)):
        path = tmp_path / f"report-{number}.json"
        path.write_text(block, "utf-8")
        report, problem = read_report(path)
        assert problem == ""
        assert report is not None
        shown |= report.model_fields_set
    assert shown == set(Report.model_fields), "each key is shown"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_commands_exist(document: Path) -> None:
    known = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    for name in re.findall(r"(?:`|^    )auto-dev ([a-z]+)\b", document.read_text("utf-8"), re.MULTILINE):
        assert name in known, f"auto-dev {name}"
