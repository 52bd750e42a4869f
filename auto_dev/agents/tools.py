"""The tools of the chat agent: files of its worktree, a search, a shell, and the report that ends its turn.

A tool answers with text, and with a text that begins ``error:`` when it could not do what was asked: the model is told
and goes on. What a tool shows is cut; the model can ask for the rest.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auto_dev.agents import search
from auto_dev.agents.base import AgentTask
from auto_dev.agents.files import FileProblem, Folder
from auto_dev.errors import AutoDevError
from auto_dev.model import Phase
from auto_dev.processes import Finished, RunTree, run_tree
from auto_dev.report import Report as WorkReport
from auto_dev.report import ReviewReport, parse_report
from auto_dev.text import clean, line

log = logging.getLogger(__name__)

SHOWN: Final = 30_000  # characters of a tool's answer
_ENTRIES: Final = 1_000
_MATCHES: Final = 200
_SEARCH_S: Final = 30.0
_SHELL_CAP: Final = 1_000_000  # bytes kept of a command's output
READ_ONLY: Final = ("read_file", "list_files", "search", "report")


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReadFile(_Args):
    path: str
    first_line: Annotated[int, Field(ge=1, description="the first line to show")] = 1
    lines: Annotated[int, Field(ge=1, le=5000, description="how many lines to show")] = 1000


class WriteFile(_Args):
    path: str
    content: Annotated[str, Field(description="the whole new content")]


class EditFile(_Args):
    path: str
    old: Annotated[str, Field(min_length=1, description="the exact text to replace; must occur once")]
    new: str
    all: Annotated[bool, Field(description="replace every occurrence")] = False


class ListFiles(_Args):
    path: str = "."


class Search(_Args):
    pattern: Annotated[str, Field(min_length=1, description="a regular expression (Python)")]
    path: str = "."
    glob: Annotated[str, Field(description="only files like this, such as *.py")] = ""


class Shell(_Args):
    command: Annotated[str, Field(min_length=1)]
    timeout_s: Annotated[float, Field(gt=0, le=3600, description="seconds")] = 120


class Report(_Args):
    model_config = ConfigDict(extra="allow")
    summary: str
    confidence: Annotated[float | str, Field(description="0 to 1")]
    criteria: Annotated[
        list[Any], Field(description='[{"criterion": "…", "evidence": ["a test, a file and line"]}], one per criterion')
    ] = []
    decisions: Annotated[
        list[Any], Field(description='[{"question": "…", "options": ["…"], "recommended": "…", "tier": 1}]')
    ] = []
    blocked: Annotated[str | None, Field(description="null, or why you could not go on")] = None


class Review(_Args):
    model_config = ConfigDict(extra="allow")
    receipt: Annotated[str, Field(description="the word in the last line of the change's file")]
    summary: str
    confidence: Annotated[float | str, Field(description="0 to 1")]
    findings: Annotated[
        list[Any],
        Field(
            description='[{"file": "…", "line": 1, "title": "…", "detail": "…", "blocking": false, "criterion": null}]'
        ),
    ] = []
    former: Annotated[
        list[Any], Field(description='[{"id": "F1", "resolved": true, "detail": "…"}], one per fault found before')
    ] = []
    blocked: Annotated[str | None, Field(description="null, or a fault that has no place in any file")] = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as the model sees it, and what it does."""

    name: str
    description: str
    arguments: type[_Args]
    act: Callable[[Any], Awaitable[str]]

    def schema(self) -> dict[str, Any]:
        """The tool in the form that every chat model of LangChain takes."""
        parameters = self.arguments.model_json_schema()
        parameters.pop("title", None)
        for field in parameters["properties"].values():
            field.pop("title", None)
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }


class Toolbox:
    """The tools of one task. ``again`` marks a call that may have been made before a restart."""

    def __init__(self, task: AgentTask) -> None:
        self._task = task
        self._folder = Folder(task.workdir)
        self._again = False
        self._kind = Review if task.phase is Phase.REVIEW else Report
        self._shown = {str(path): path for path in task.shown}
        every = (
            Tool("read_file", "Show a text file of the worktree.", ReadFile, self._read),
            Tool("write_file", "Write a whole file (folders are made).", WriteFile, self._write),
            Tool("edit_file", "Replace an exact piece of text in a file.", EditFile, self._edit),
            Tool("list_files", "List files and folders.", ListFiles, self._list),
            Tool("search", "Search the files' lines with a regular expression.", Search, self._search),
            Tool("shell", "Run a shell command in the worktree; what it leaves running is ended.", Shell, self._shell),
            Tool("report", "Report on the work and end. Call it once, last.", self._kind, self._report),
        )
        self.tools = {t.name: t for t in every if task.phase is Phase.IMPLEMENT or t.name in READ_ONLY}

    def schemas(self) -> list[dict[str, Any]]:
        """All tools, for the model."""
        return [tool.schema() for tool in self.tools.values()]

    async def call(self, name: str, arguments: Mapping[str, Any], *, again: bool = False) -> tuple[str, bool]:
        """The answer to one call, and whether it could be done. Raises only when the work is cancelled."""
        tool = self.tools.get(name)
        if tool is None:
            return f"error: there is no tool {line(name, 60)!r}; there are {', '.join(self.tools)}", False
        self._again = again
        try:
            text = await tool.act(tool.arguments.model_validate(arguments))
        except ValidationError as error:
            return f"error: {name}: {_explain(error)}", False
        except (FileProblem, AutoDevError, OSError) as error:
            return f"error: {clean(str(error), 2000)}", False
        except Exception as error:
            log.exception("a tool failed", extra={"action": "tool", "tool": name})
            return f"error: the tool failed: {line(repr(error))}", False
        return clean(text, SHOWN) or "(nothing)", True

    async def _read(self, wanted: ReadFile) -> str:
        shown = self._shown.get(wanted.path.strip())
        folder, name = (Folder(shown.parent), shown.name) if shown is not None else (self._folder, wanted.path)
        data = await asyncio.to_thread(folder.read, name)
        if b"\0" in data[:8192]:
            return f"{wanted.path} is a binary file of {len(data):,} bytes"
        lines = data.decode("utf-8", "replace").splitlines(keepends=True)
        chosen = lines[wanted.first_line - 1 :][: wanted.lines]
        text = "".join(chosen)
        if len(chosen) == len(lines):
            return text
        last = wanted.first_line + len(chosen) - 1
        return f"{text}\n[lines {wanted.first_line} to {last} of {len(lines)}]"

    async def _write(self, wanted: WriteFile) -> str:
        data = _encoded(wanted.content)
        new = await asyncio.to_thread(self._folder.write, wanted.path, data)
        return f"{'created' if new else 'wrote'} {wanted.path} ({len(data):,} bytes)"

    async def _edit(self, wanted: EditFile) -> str:
        before = await asyncio.to_thread(self._folder.read, wanted.path)
        old, new = _encoded(wanted.old), _encoded(wanted.new)
        count = before.count(old)
        if count == 0 and b"\r\n" in before:  # models write \n; the file's own line ends stay
            old, new = old.replace(b"\n", b"\r\n"), new.replace(b"\n", b"\r\n")
            count = before.count(old)
        if count == 0:
            if self._again and new and new in before:
                return f"{wanted.path} has that change already"
            raise FileProblem(f"the text to replace does not occur in {wanted.path}; read the file again")
        if count > 1 and not wanted.all:
            raise FileProblem(f"the text occurs {count} times in {wanted.path}; give more of it, or set all")
        if not (self._again and new in before and old in new):  # a growing edit must not grow twice
            await asyncio.to_thread(self._folder.write, wanted.path, before.replace(old, new))
        return f"replaced {count} in {wanted.path}"

    async def _list(self, wanted: ListFiles) -> str:
        found, complete = await asyncio.to_thread(self._folder.listing, wanted.path, _ENTRIES)
        more = "" if complete else f"\n[… only the first {_ENTRIES} are shown; list a folder …]"
        return "\n".join(found) + more

    async def _search(self, wanted: Search) -> str:
        parts = await asyncio.to_thread(self._folder.check_folder, wanted.path)
        question = {"pattern": wanted.pattern, "path": "/".join(parts) or ".", "glob": wanted.glob, "most": _MATCHES}
        done, text = await self._run(
            run_tree,  # our own program and our own Python, which a box need not show
            [sys.executable, "-I", "-S", search.__file__],
            _SEARCH_S,
            stdin=json.dumps(question).encode(),
        )
        if done.stopped:
            raise FileProblem(f"the search took longer than {_SEARCH_S:g} seconds; use a simpler pattern")
        if done.exit_code != 0:
            raise FileProblem(f"the search failed: {line(text.strip().splitlines()[-1]) if text.strip() else '?'}")
        return text or "no match"

    async def _shell(self, wanted: Shell) -> str:
        limit = min(wanted.timeout_s, self._task.config.stuck_minutes * 60)
        program = shutil.which("bash", path=self._task.env.get("PATH")) or "/bin/sh"
        done, text = await self._run(self._task.run_tree, [program, "-c", wanted.command], limit)
        how = f"exit code {done.exit_code}"
        if done.stopped == "timeout":
            how = f"ended after {limit:g} seconds"
        elif done.exit_code is None:
            how = f"ended by signal {done.signal}"
            if done.signal in set(signal.Signals):
                how = f"ended by {signal.Signals(done.signal).name}"
        note = "\n[a restart interrupted this command; it was run again from the start]" if self._again else ""
        return f"{clean(text, SHOWN - 500)}\n[{how}]{note}".lstrip("\n")

    async def _run(self, start: RunTree, argv: list[str], timeout_s: float, stdin: bytes = b"") -> tuple[Finished, str]:
        task = self._task
        output = task.run_dir / f"tool-{task.phase}-{task.round}.out"
        trees: list[tuple[int, int]] = []

        async def on_start(pid: int, started: int) -> None:
            trees.append((pid, started))
            await task.processes.started(pid, started)

        try:
            done = await start(
                argv,
                cwd=task.workdir,
                env=task.env,
                output=output,
                stdin=stdin,
                timeout_s=timeout_s,
                output_cap=_SHELL_CAP,
                on_start=on_start,
            )
        finally:
            for pid, started in trees:
                await task.processes.ended(pid, started)
        data = await asyncio.to_thread(output.read_bytes)
        return done, data.decode("utf-8", "replace")

    async def _report(self, wanted: Report | Review) -> str:
        data = json.dumps(wanted.model_dump(mode="json"), ensure_ascii=False, indent=1).encode("utf-8", "replace")
        _, problem = parse_report(data, ReviewReport if self._kind is Review else WorkReport)
        if problem:
            raise FileProblem(f"{problem}; call report again")
        await asyncio.to_thread(replace_file, self._task.report_path, data)
        return "the report is written"


def replace_file(path: Path, data: bytes) -> None:
    """Put a new file in the place of whatever is there; the folder may belong to an agent, so no link is followed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FileProblem("the text holds a lone surrogate, which no file can hold") from None


def _explain(error: ValidationError) -> str:
    parts = []
    for problem in error.errors()[:5]:
        where = ".".join(str(part) for part in problem["loc"])
        parts.append(f"{where}: {problem['msg']}" if where else problem["msg"])
    return line("; ".join(parts), 600)
