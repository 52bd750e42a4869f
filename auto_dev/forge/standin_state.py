"""What the local GitHub stand-in knows, and the main things that GitHub checks before it changes any of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from auto_dev.errors import ForgeError
from auto_dev.forge import standin_shapes as shapes

Json = dict[str, Any]
Act = Literal["merged", "closed", "open", "ready"]

TITLE_LIMIT = 256
BODY_LIMIT = 65_536
_SHA = re.compile(r"[0-9a-f]{40,64}")


class RefusalError(Exception):
    """An answer other than success, as GitHub words it."""

    def __init__(self, status: int, message: str, errors: list[Json] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.answer: Json = {
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": str(status),
            **({} if errors is None else {"errors": errors}),
        }


def invalid(field: str = "", code: str = "custom", message: str = "", resource: str = "PullRequest") -> RefusalError:
    """GitHub's 422."""
    named = {"resource": resource, "code": code, "field": field, "message": message}
    return RefusalError(422, "Validation Failed", [{key: value for key, value in named.items() if value}])


@dataclass
class StandInState:
    """One repository's pull requests and labels, in a JSON file that is replaced whole at every change."""

    file: Path
    repository: str
    git_dir: Path | None
    clock: Callable[[], datetime]
    url: str = ""
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)
    data: Json = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.data = json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            self.data = {"repository": self.repository, "port": 0, "next": 1, "pulls": {}, "labels": {}}
        except (OSError, ValueError) as error:
            raise ForgeError(f"the stand-in's state cannot be read: {error}", where=str(self.file)) from None
        if self.data.get("repository") != self.repository:
            raise ForgeError(f"the stand-in's state is not of {self.repository}", where=str(self.file))

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_name(f".{self.file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(self.data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.file)

    def repository_answer(self) -> Json:
        return shapes.repository(self.url, self.repository)

    def branch(self, name: str) -> Json:
        sha = self._tip(name, "branch") if self.git_dir is None else branch_tip(self.git_dir, name)
        if sha is None:
            raise RefusalError(404, "Branch not found")
        return shapes.branch(self.url, self.repository, name, sha)

    def pulls(self, query: Mapping[str, str]) -> list[Json]:
        """The list as GitHub filters and sorts it, before it is cut into pages."""
        wanted, owner = query.get("state", "open"), self.repository.split("/")[0]
        head, base = query.get("head", ""), query.get("base", "")
        found = []
        for stored in self.data["pulls"].values():
            # GitHub ignores a head that is not written owner:branch.
            if ":" in head and head.split(":", 1) != [owner, stored["head"]]:
                continue
            if (wanted == "all" or stored["state"] == wanted) and base in ("", stored["base"]):
                found.append(stored)
        descending = query.get("direction", "desc") == "desc"
        by = "updated_at" if query.get("sort") == "updated" else "created_at"
        found.sort(key=lambda stored: (stored[by], int(stored["number"])), reverse=descending)
        return [self._answer(stored, full=False) for stored in found]

    def pull(self, number: int) -> Json:
        return self._answer(self._stored(number), full=True)

    def create(self, body: Json) -> Json:
        title, head, base = (_text(body, key) for key in ("title", "head", "base"))
        head = head.split(":", 1)[-1]
        self._check_words(title, body.get("body"))
        head_sha, base_sha = self._tip(head, "head"), self._tip(base, "base")
        if head_sha == base_sha:
            raise invalid(message=f"No commits between {base} and {head}")
        self._check_unique(head, base)
        number, now = int(self.data["next"]), self.now()
        self.data["next"] = number + 1
        self.data["pulls"][str(number)] = {
            "number": number,
            "title": title,
            "body": body.get("body"),
            "head": head,
            "base": base,
            "head_sha": head_sha,
            "base_sha": base_sha,
            "draft": body.get("draft") is True,
            "state": "open",
            "created_at": now,
            "updated_at": now,
            "merged_at": None,
            "closed_at": None,
            "labels": [],
        }
        self.save()
        return self.pull(number)

    def patch(self, number: int, body: Json) -> Json:
        stored = self._stored(number)
        changed: Json = {key: body[key] for key in ("title", "body", "base", "state") if key in body}
        self._check_words(changed.get("title", stored["title"]), changed.get("body", stored["body"]))
        if changed.get("state", stored["state"]) not in ("open", "closed"):
            raise invalid("state", "invalid")
        if "base" in changed and changed["base"] != stored["base"]:
            if stored["state"] != "open":
                raise invalid("base", message="Cannot change the base branch of a closed pull request.")
            changed["base_sha"] = self._tip(_text(changed, "base"), "base")
            self._check_unique(stored["head"], changed["base"])
        stored |= changed | {"updated_at": self.now()}
        self.save()
        return self.pull(number)

    def label(self, name: str) -> Json:
        stored = self.data["labels"].get(name.lower())
        if stored is None:
            raise RefusalError(404, "Not Found")
        return shapes.label(self.url, self.repository, stored)

    def create_label(self, body: Json) -> Json:
        name = _text(body, "name", "Label")
        if name.lower() in self.data["labels"]:
            raise invalid("name", "already_exists", resource="Label")
        self._add_label(name, str(body.get("color") or "ededed"), str(body.get("description") or ""))
        self.save()
        return self.label(name)

    def add_labels(self, number: int, body: Json) -> list[Json]:
        stored, names = self._stored(number), body.get("labels")
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise invalid("labels", "invalid", resource="Label")
        for name in names:
            if name.lower() not in self.data["labels"]:  # GitHub makes it too
                self._add_label(name, "ededed", "")
            if name.lower() not in stored["labels"]:
                stored["labels"].append(name.lower())
        self.save()
        return [self.label(name) for name in stored["labels"]]

    def act(self, number: int, what: Act, by: str = "", merge_sha: str = "") -> Json:
        """What a person does in a browser, and auto-dev never: merge, close, open again, leave draft."""
        with self.lock:
            stored, now = self._stored(number), self.now()
            stored["head_sha"] = self._tip(stored["head"], "head", keep=stored["head_sha"])
            if what == "ready":
                stored["draft"] = False
            else:
                stored["state"] = "open" if what == "open" else "closed"
                stored["closed_at"] = None if what == "open" else now
                stored["merged_at"] = now if what == "merged" else None
                stored |= {"ended_by": by, "merge_sha": merge_sha}
            stored["updated_at"] = now
            self.save()
            return self.pull(number)

    def touch(self, number: int) -> None:
        """Something happened on the pull request."""
        self._stored(number)["updated_at"] = self.now()

    def set_mergeable(self, number: int, mergeable: bool | None) -> None:
        """What GitHub works out about conflicts; None: it has not yet."""
        with self.lock:
            self._stored(number)["mergeable"] = mergeable
            self.save()

    def _stored(self, number: int) -> Json:
        stored: Json | None = self.data["pulls"].get(str(number))
        if stored is None:
            raise RefusalError(404, "Not Found")
        return stored

    def _answer(self, stored: Json, *, full: bool) -> Json:
        live = dict(stored)
        if stored["state"] == "open":
            live["head_sha"] = self._tip(stored["head"], "head", keep=stored["head_sha"])
        labels = [self.label(name) for name in stored["labels"]]
        return shapes.pull(self.url, self.repository, live, labels, full=full)

    def _add_label(self, name: str, color: str, description: str) -> None:
        labels = self.data["labels"]
        labels[name.lower()] = {"id": len(labels) + 1, "name": name, "color": color, "description": description}

    def _check_words(self, title: Any, body: Any) -> None:
        if not isinstance(title, str) or not title.strip():
            raise invalid("title", "missing_field")
        if len(title) > TITLE_LIMIT:
            raise invalid("title", message=f"title is too long (maximum is {TITLE_LIMIT} characters)")
        if body is not None and (not isinstance(body, str) or len(body) > BODY_LIMIT):
            raise invalid("body", message=f"body is too long (maximum is {BODY_LIMIT} characters)")

    def _check_unique(self, head: str, base: str) -> None:
        for stored in self.data["pulls"].values():
            if (stored["head"], stored["base"], stored["state"]) == (head, base, "open"):
                raise invalid(message=f"A pull request already exists for {self.repository.split('/')[0]}:{head}.")

    def _tip(self, branch: str, field: str, *, keep: str | None = None) -> str:
        """The commit of ``branch`` in the bare repository; made up from the name when there is none to look into."""
        if self.git_dir is None:
            return hashlib.sha1(branch.encode(), usedforsecurity=False).hexdigest()
        sha = branch_tip(self.git_dir, branch) or keep
        if sha is None:
            raise invalid(field, "invalid")
        return sha

    def now(self) -> str:
        return self.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def branch_tip(git_dir: Path, branch: str) -> str | None:
    """The commit that ``refs/heads/<branch>`` names in a bare repository with file references, or None."""
    if not branch or branch.startswith("/") or ".." in branch or "\0" in branch:
        return None
    try:
        sha = (git_dir / "refs" / "heads" / branch).read_text("ascii").strip()
        if _SHA.fullmatch(sha):
            return sha
    except (OSError, ValueError):
        sha = ""  # packed, perhaps
    try:
        packed = (git_dir / "packed-refs").read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    lines = (each.split(" ", 1) for each in packed.splitlines())
    return next((each[0] for each in lines if each[1:] == [f"refs/heads/{branch}"]), None)


def _text(body: Json, key: str, resource: str = "PullRequest") -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.strip():
        raise invalid(key, "missing_field", resource=resource)
    return value
