"""What people and checks say on the local stand-in's pull requests: comments, reviews, check runs, statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auto_dev.forge import standin_talk_shapes as shapes
from auto_dev.forge.standin_state import BODY_LIMIT, Json, RefusalError, StandInState, invalid


class Talk:
    """Reads and changes what was said; it is stored with the rest of the stand-in's state."""

    def __init__(self, state: StandInState) -> None:
        self._state = state

    def comments(self, number: int, query: Mapping[str, str]) -> list[Json]:
        self._state.pull(number)
        return [self._shape(shapes.comment, each) for each in self._of(number, "comments", query.get("since", ""))]

    def add_comment(self, number: int, body: Json) -> Json:
        text = body.get("body")
        if not isinstance(text, str) or not text.strip() or len(text) > BODY_LIMIT:
            raise invalid("body", "missing_field", resource="IssueComment")
        owner = self._state.repository.split("/")[0]
        return self._shape(shapes.comment, self._add(number, "comments", owner, "OWNER", {"body": text}))

    def line_comments(self, number: int, query: Mapping[str, str]) -> list[Json]:
        self._state.pull(number)
        return [self._shape(shapes.line_comment, each) for each in self._of(number, "lines", query.get("since", ""))]

    def reviews(self, number: int) -> list[Json]:
        self._state.pull(number)
        return [self._shape(shapes.review, each) for each in self._of(number, "reviews")]

    def issue(self, number: int) -> Json:
        return shapes.issue(self._state.url, self._state.repository, self._state.pull(number), self._closer(number))

    def check_runs(self, sha: str) -> Json:
        runs = [self._shape(shapes.check_run, each) for each in self._checks(sha) if not each["status_only"]]
        return {"total_count": len(runs), "check_runs": runs}

    def statuses(self, sha: str) -> Json:
        found = [each for each in self._checks(sha) if each["status_only"]]
        return shapes.combined_status(self._state.url, self._state.repository, sha, found)

    def annotations(self, run: int) -> list[Json]:
        for checks in self._state.data.get("checks", {}).values():
            for each in checks:
                if each["id"] == run:
                    return [shapes.annotation(note) for note in each["annotations"]]
        raise RefusalError(404, "Not Found")

    def say(
        self, number: int, body: str, author: str, association: str, *, path: str, line: int | None, verdict: str
    ) -> int:
        """What a person does in a browser: a comment, one on a line (``path``), or a review (``verdict``)."""
        with self._state.lock:
            kind = "reviews" if verdict else "lines" if path else "comments"
            more = {"body": body, "path": path, "line": line, "state": verdict}
            return int(self._add(number, kind, author, association, more)["id"])

    def check(
        self,
        number: int,
        name: str,
        conclusion: str,
        *,
        summary: str,
        annotations: Sequence[Json],
        status_only: bool,
        sha: str,
    ) -> None:
        """What a CI service does: say how ``name`` stands for the head. ``conclusion`` "": it is still running."""
        with self._state.lock:
            sha = sha or str(self._state.pull(number)["head"]["sha"])
            checks = self._state.data.setdefault("checks", {}).setdefault(sha, [])
            checks[:] = [each for each in checks if (each["name"], each["status_only"]) != (name, status_only)]
            checks.append(
                {
                    "id": self._next_id(),
                    "name": name,
                    "sha": sha,
                    "conclusion": conclusion,
                    "summary": summary,
                    "annotations": list(annotations),
                    "status_only": status_only,
                    "at": self._state.now(),
                }
            )
            self._state.save()

    def _of(self, number: int, kind: str, since: str = "") -> list[Json]:
        return [each for each in self._state.data.get(kind, []) if each["pull"] == number and each["at"] >= since]

    def _add(self, number: int, kind: str, author: str, association: str, more: Json) -> Json:
        sha = self._state.pull(number)["head"]["sha"]
        said = {
            "id": self._next_id(),
            "pull": number,
            "author": author,
            "association": association,
            "at": self._state.now(),
            "sha": sha,
            **more,
        }
        self._state.data.setdefault(kind, []).append(said)
        self._state.touch(number)
        self._state.save()
        return said

    def _checks(self, sha: str) -> list[Json]:
        return list(self._state.data.get("checks", {}).get(sha, []))

    def _closer(self, number: int) -> str:
        return str(self._state.data["pulls"][str(number)].get("ended_by", ""))

    def _next_id(self) -> int:
        self._state.data["ids"] = int(self._state.data.get("ids", 1000)) + 1
        return int(self._state.data["ids"])

    def _shape(self, shape: Any, stored: Json) -> Json:
        answer: Json = shape(self._state.url, self._state.repository, stored)
        return answer
