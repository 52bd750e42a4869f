"""``auto-dev prs``: the pull requests, how their checks stand, and what comes next for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.rows import DictRow

from auto_dev.commands import output
from auto_dev.commands.here import here
from auto_dev.errors import ExitCode
from auto_dev.text import line


async def prs(*, as_json: bool) -> ExitCode:
    """Print the pull requests that wait for review, and those that were."""
    from auto_dev.store.follow_ups import FOLLOW_UPS

    place = await here(lenient=True)
    rows: Sequence[DictRow] = ()
    if place.known:
        async with place.database() as db:
            rows = await db.fetch_all(FOLLOW_UPS["overview"], {"project": place.project_id})
    pulls = [pull_facts(row) for row in rows]
    if as_json:
        output.emit_json({"pull_requests": pulls})
    elif not pulls:
        output.say("No pull requests yet.")
    else:
        output.table(
            ("story", "state", "checks", "branch → base", "what is next", "where"),
            [
                (
                    p["story"],
                    p["state"],
                    checks_words(p["checks"]),
                    f"{p['branch']} → {p['base']}",
                    next_words(p),
                    p["url"],
                )
                for p in pulls
            ],
        )
    return ExitCode.DONE


def pull_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """One pull request of ``prs --json``. ``checks`` is null before the first look, ``next`` "" when nothing waits."""
    found = row["checks"] or None
    checks = {key: found.get(key) for key in ("failed", "known", "pending", "passed", "trouble")} if found else None
    looked_at = row["looked_at"]
    return {
        "story": row["story_id"], "title": row["title"], "state": row["state"], "number": row["number"],
        "url": row["url"], "branch": row["branch"], "base": row["base"], "head_sha": row["head_sha"],
        "checks": checks, "looked_at": looked_at.isoformat(timespec="seconds") if looked_at else None,
        "trouble": row["trouble"] or "",
        "next": row["reason"] or "", "follow_ups": row["follow_ups"], "ended_by": row["ended_by"],
    }  # fmt: skip


def checks_words(checks: Mapping[str, Any] | None) -> str:
    """``2 failed, 1 running`` of the head's checks."""
    if checks is None:
        return ""
    parts = [f"{len(checks['failed'])} failed ({', '.join(checks['failed'][:3])})"] if checks["failed"] else []
    parts += [f"{checks['pending']} running"] if checks["pending"] else []
    parts += [f"{len(checks['known'])} failed on the base, too"] if checks["known"] else []
    parts += [f"{checks['passed']} passed"] if checks["passed"] else []
    return line("; ".join([*parts, *([checks["trouble"]] if checks["trouble"] else [])]), 160)


def next_words(pull: Mapping[str, Any]) -> str:
    """What waits, who ended it, or why the last look failed."""
    if pull["state"] in ("merged", "closed"):
        return f"by {pull['ended_by']}" if pull["ended_by"] else ""
    return line("; ".join(part for part in (pull["next"], pull["trouble"]) if part), 160)
