"""What an agent asks to be allowed: by itself what stays in its worktree and its box, everything else by a person."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from auto_dev.agents.base import AgentTask
from auto_dev.model import Phase
from auto_dev.text import line

ALLOW: Final = "Allow it"
REFUSE: Final = "Refuse it"

_LOOKS: Final = frozenset(("read", "search", "think"))
_CHANGES: Final = frozenset(("edit", "delete", "move"))
_PATH_KEYS: Final = ("path", "file_path", "filePath", "abs_path", "absolute_path", "notebook_path", "cwd", "directory")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for permission: ``kind`` of tool (the protocol's words), what it is about, and the paths it names."""

    kind: str
    what: str
    paths: tuple[str, ...]

    @property
    def question(self) -> str:
        """The same words for the same request, so that an answer is found again."""
        return line(f"The agent asks to be allowed: {self.what}", 400)

    def decision(self) -> dict[str, object]:
        """The question for a person, in the shape of a report's decisions."""
        tier = 4 if self.kind in ("delete", "move") else 5
        return {"question": self.question, "options": [ALLOW, REFUSE], "recommended": REFUSE, "tier": tier}


def asked_of(tool_call: Mapping[str, Any]) -> Asked:
    """What a tool call of the protocol is about: what it would do, rather than what its title says."""
    raw = tool_call.get("rawInput")
    given = raw if isinstance(raw, dict) else {}
    command = given.get("command") or given.get("cmd")
    if isinstance(command, list):
        command = " ".join(str(word) for word in command)
    kind = str(tool_call.get("kind") or "other")
    paths = tuple(dict.fromkeys(_paths(tool_call, given)))
    title = str(tool_call.get("title") or "something that it does not name")
    what = f"run `{command}`" if command else f"{title} ({kind}{': ' + ', '.join(paths[:5]) if paths else ''})"
    return Asked(kind, line(what, 360), paths)


def allowed(asked: Asked, task: AgentTask) -> bool | None:
    """True: it may; False: it may not in this phase; None: a person is to say.

    Files of its own (worktree, home, report, temp) it may change, in a phase that is there for changes. Commands and
    the network are the box's matter: allowed where there is one. A person's answer holds for the very same request.
    """
    answer = task.answers.get(asked.question)
    if answer is not None:
        return answer == ALLOW
    own = all(_is_own(path, task) for path in asked.paths)
    report_only = bool(asked.paths) and all(_absolute(path, task) == str(task.report_path) for path in asked.paths)
    if task.phase is not Phase.IMPLEMENT and asked.kind not in _LOOKS and not report_only:
        return False
    if asked.kind in _LOOKS and (own or task.confined):
        return True
    if asked.kind in _CHANGES and own and asked.paths:
        return True
    return True if task.confined and own else None


def _paths(tool_call: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    for name in ("locations", "content"):
        found = tool_call.get(name)
        for item in found if isinstance(found, list) else ():
            if isinstance(item, dict) and isinstance(path := item.get("path"), str) and path:
                yield path
    for key in _PATH_KEYS:
        if isinstance(path := given.get(key), str) and path:
            yield path


def _is_own(path: str, task: AgentTask) -> bool:
    place = Path(_absolute(path, task))
    folders = [task.workdir, task.home, task.report_path.parent]
    if task.confined:  # in a box this is a private folder
        folders.append(Path(task.env.get("TMPDIR") or "/tmp"))  # noqa: S108
        folders.append(Path("/tmp"))  # noqa: S108
    return ".git" not in place.parts and any(place == folder or folder in place.parents for folder in folders)


def _absolute(path: str, task: AgentTask) -> str:
    return os.path.normpath(task.workdir / path.replace("\0", ""))
