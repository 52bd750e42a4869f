"""Parts of a pull request's text that are made of rows: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from auto_dev.config import ForgeConfig
from auto_dev.forge.facts import ConcernFact, ConflictFact, CriterionFact, PhaseFact
from auto_dev.gates.strength import CRITERION
from auto_dev.model import Verdict
from auto_dev.report import Report
from auto_dev.text import clean

INTEGRATION: Final = "integration"
PROOF: Final = "proof"


def concerns_of(verdicts: Iterable[Mapping[str, Any]]) -> tuple[ConcernFact, ...]:
    """What gates found and let pass, with its place; what conflicts with other stories has a section of its own."""
    return tuple(
        ConcernFact(str(verdict["gate"]), str(entry.get("title", "")), str(entry.get("file", "")), _line(entry))
        for verdict in verdicts
        if verdict["verdict"] != Verdict.PASS and verdict["gate"] != INTEGRATION
        for entry in verdict["evidence"]
        if entry.get("title") and "strength" not in entry and not entry.get("proves")
    )


def criteria_of(
    criteria: Sequence[str], verdicts: Iterable[Mapping[str, Any]], report: Report | None
) -> tuple[CriterionFact, ...]:
    """Each criterion as the proof gate judged it; with the agent's claims alone where it did not look."""
    rows = [entry for verdict in verdicts if verdict["gate"] == PROOF for entry in verdict["evidence"]]
    judged = {_plain(str(row["criterion"])): row for row in rows if row.get("criterion") and "strength" in row}
    claims = {_plain(claim.criterion): tuple(claim.evidence) for claim in report.criteria} if report else {}
    found = []
    for criterion in criteria:
        row = judged.get(_plain(clean(criterion, CRITERION)))
        if row is None:
            found.append(CriterionFact(criterion, claims.get(_plain(criterion), ())))
            continue
        strong = row["strength"] == "strong"
        found.append(
            CriterionFact(
                criterion,
                tuple(str(text) for text in row.get("named") or ()),
                row["strength"],
                tuple(str(name) for name in row.get("proof") or ()) if strong else (),
                bool(row.get("unproven")),
            )
        )
    return tuple(found)


def conflicts_of(verdicts: Iterable[Mapping[str, Any]], numbers: Mapping[str, int | None]) -> tuple[ConflictFact, ...]:
    """Other open stories with which this one does not merge. ``numbers``: the pull request of each story."""
    files: dict[str, list[str]] = {}
    advice: dict[str, str] = {}
    for verdict in verdicts:
        for entry in verdict["evidence"] if verdict["gate"] == INTEGRATION else ():
            if not (story := str(entry.get("story", ""))):
                continue
            named = entry.get("files") or ([entry["file"]] if entry.get("file") else [])
            files.setdefault(story, []).extend(str(path) for path in named)
            advice[story] = str(entry.get("advice", "")) or advice.get(story, "")
    return tuple(
        ConflictFact(story, tuple(dict.fromkeys(paths)), numbers.get(story), advice[story])
        for story, paths in files.items()
    )


def phases_of(rows: Iterable[Mapping[str, Any]]) -> tuple[PhaseFact, ...]:
    return tuple(PhaseFact(str(row["phase"]), float(row["seconds"]), int(row["cost"])) for row in rows)


def web_of(config: ForgeConfig) -> str:
    """The repository's page, "" without a forge."""
    if config.kind == "none" or not config.repository:
        return ""
    api = urlsplit(config.api_url)
    # github.com and the tenants of ghe.com have their API beside; an Enterprise server has it below /api/v3.
    return f"{api.scheme}://{api.netloc.removeprefix('api.')}/{config.repository}"


def flaky_of(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """What failed in one run of a command and not in another."""
    return tuple(dict.fromkeys(str(name) for row in rows for name in row["tests"]))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _line(entry: Mapping[str, Any]) -> int | None:
    at = entry.get("line")
    return at if isinstance(at, int) and at > 0 else None
