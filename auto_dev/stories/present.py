"""The JSON shapes of ``stories check``, ``stories list`` and ``stories explain``. Pure."""

from __future__ import annotations

from typing import Any

from auto_dev.stories import order
from auto_dev.stories.model import Backlog, Problem, Story


def problem(found: Problem) -> dict[str, Any]:
    """``{"level", "path", "line", "message", "mend", "stories": [id]}``."""
    return {
        "level": found.level,
        "path": found.path,
        "line": found.line,
        "message": found.message,
        "mend": found.mend,
        "stories": list(found.story_ids),
    }


def summary(story: Story) -> dict[str, Any]:
    """What was understood of a story, without its body."""
    told: dict[str, Any] = story.model_dump(mode="json", exclude={"body", "position", "extra"})
    return {**told, "extra": sorted(story.extra)}


def check(backlog: Backlog) -> dict[str, Any]:
    """``{"files": [{"path", "kind", "stories": [summary], "problems": [problem]}], "counts": {…}, "ok"}``.

    ``kind``: story, index, companion, document or unreadable. Every file that was looked at is there, in order.
    """
    held = backlog.held_back()
    by_path: dict[str, dict[str, Any]] = {}

    def entry(path: str, kind: str) -> dict[str, Any]:
        return by_path.setdefault(path, {"path": path, "kind": kind, "stories": [], "problems": []})

    for document in backlog.documents:
        entry(document.path, document.kind)
    for story in backlog.stories:
        file = entry(story.path, "story")
        file["stories"].append({**summary(story), "held": story.id in held})
        if len(file["stories"]) > 1:
            file["kind"] = "index"
    for found in backlog.problems:
        entry(found.path, "unreadable")["problems"].append(problem(found))
    errors = sum(found.level == "error" for found in backlog.problems)
    return {
        "files": [by_path[path] for path in sorted(by_path)],
        "counts": {
            "files": backlog.files,
            "stories": len(backlog.stories),
            "held": sum(story.id in held for story in backlog.stories),
            "errors": errors,
            "warnings": len(backlog.problems) - errors,
        },
        "ok": errors == 0,
    }


def listing(backlog: Backlog, satisfied: set[str]) -> dict[str, Any]:
    """``{"stories": [{"id", "title", "path", "status", "declared_status", "priority", "depends_on", "ready",
    "reasons"}]}`` in the order of dispatch, dependencies first."""
    held = backlog.held_back()
    by_id: dict[str, list[Story]] = {}
    for story in backlog.stories:
        by_id.setdefault(story.id, []).append(story)
    rows = []
    for name in order.topological(backlog.stories):
        for story in by_id[name]:
            read = order.readiness(story, held, satisfied)
            rows.append(
                {
                    "id": story.id,
                    "title": story.title,
                    "path": story.path,
                    "status": story.status.value,
                    "declared_status": story.declared_status,
                    "priority": story.priority,
                    "depends_on": list(story.depends_on),
                    "ready": read.ready,
                    "reasons": list(read.reasons),
                }
            )
    return {"stories": rows}


def explain(backlog: Backlog, story_id: str, satisfied: set[str]) -> dict[str, Any] | None:
    """``{"id", "ready", "needs_criterion", "reasons", "depends_on": [{"id", "satisfied", "status"}],
    "dependents": [id], "story": summary, "problems": [problem]}``; ``None`` when no story has this id in any case."""
    story = next((s for s in backlog.stories if s.id == story_id), None) or next(
        (s for s in backlog.stories if s.id.casefold() == story_id.casefold()), None
    )
    if story is None:
        return None
    read = order.readiness(story, backlog.held_back(), satisfied)
    statuses = {other.id: other.status.value for other in backlog.stories}
    return {
        "id": story.id,
        "ready": read.ready,
        "needs_criterion": read.needs_criterion,
        "reasons": list(read.reasons),
        "depends_on": [
            {"id": name, "satisfied": name in satisfied, "status": statuses.get(name)} for name in story.depends_on
        ],
        "dependents": [other.id for other in backlog.stories if story.id in other.depends_on],
        "story": summary(story),
        "problems": [
            problem(found)
            for found in backlog.problems
            if story.id in found.story_ids or (found.path == story.path and not found.story_ids)
        ],
    }
