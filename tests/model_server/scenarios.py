"""What the model does: functions from a request to an answer. They keep no state, so a killed client goes on rightly.

``story`` does what markers in the prompt say, one step per answer, with whatever tools the client has:

    FILE: src/a.txt = first line\\nsecond line      write a file
    RUN: make test                                 run a command
    REPORT: {"summary": "done", "confidence": 0.9} the report (``REPORT: none``: no report; without: a usual one)
    SAY: That is all.                              the last words
    MODEL: {"files": {…}, "commands": […], "report": {…}, "say": "…", "delay_s": 0.5, "extra_turns": 3}
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.model_server.answer import Answer, Call, Tokens
from tests.model_server.asked import Asked, Item

Scenario = Callable[[Asked], Answer | Awaitable[Answer]]

_MARK: Final = re.compile(r"^[ \t>*-]*`?(FILE|RUN|REPORT|SAY|MODEL): ?(.+?)`?[ \t]*$", re.MULTILINE)
_REPORT_FILE: Final = re.compile(r"AUTO_DEV_REPORT`\) is in this chat as `([^`]+)`")
_FAILED: Final = re.compile(r"\s*(<tool_use_error>|error\b|\{.{0,3}error)", re.IGNORECASE)
_SHELLS: Final = (
    "bash",
    "shell",
    "exec_command",
    "shell_command",
    "run_shell_command",
    "run_command",
    "execute",
    "terminal",
)
_WRITERS: Final = ("write", "write_file", "create_file", "write_to_file", "create")
_PATHS: Final = ("file_path", "filepath", "filePath", "path", "absolute_path", "filename")
_CONTENTS: Final = ("content", "contents", "file_text", "text")
_REPORT_PATH: Final = re.compile(r"`AUTO_DEV_REPORT` is `([^`]+)`")
_REPORT: Final = {"summary": "Done as asked.", "confidence": 0.95, "criteria": [], "decisions": [], "blocked": None}


def say(text: str = "Done.", **answer: Any) -> Scenario:
    """Always the same text; ``answer`` are further fields of Answer."""
    made = Answer(text, **answer)
    return lambda asked: made


words: Final[Scenario] = say("Hello from the model.")


def echo(asked: Asked) -> Answer:
    """The request's own headers, as JSON: shows what a gateway lets through."""
    return Answer(json.dumps(dict(asked.headers)))


def spend(
    usage: Callable[[Asked], Tokens] | Tokens | None = None, *, same: bool = False, command: str = "echo"
) -> Scenario:
    """Asks for one more tool call for ever. ``usage`` None: all of the allowed output each time."""

    def scenario(asked: Asked) -> Answer:
        tokens = usage(asked) if callable(usage) else usage
        if tokens is None:
            tokens = Tokens(max(1, len(json.dumps(asked.body)) // 4), asked.max_output or 4096)
        if (call := shell(asked, f"{command} {0 if same else asked.answers}")) is None:
            return Answer("I have no shell.", usage=tokens)
        return Answer(f"Step {asked.answers}.", (call,), usage=tokens)

    return scenario


def story(asked: Asked) -> Answer:
    """Does what the markers in the prompt say, then reports, then ends."""
    by_text = _edits_by_text(asked)
    if not asked.tools and not by_text:
        return Answer(json.dumps(instance(asked.schema)) if asked.schema else "A story")  # a title, a routing question
    start = max((i for i, item in enumerate(asked.items) if item.kind == "user" and _MARK.search(item.text)), default=0)
    told = asked.items[start].text if asked.items else ""
    task = Task.of(told)
    if by_text:
        return Answer(task.as_edits(asked), delay_s=task.delay_s)
    steps = task.steps()
    number, by_shell = _progress(asked.items[start:], len(steps))
    if number >= len(steps):
        return Answer(task.say, delay_s=task.delay_s)
    call = steps[number](asked, by_shell)
    if call is None:
        return Answer("I have no tool for that.", delay_s=task.delay_s)
    return Answer(f"Step {number + 1} of {len(steps)}.", (call,), delay_s=task.delay_s)


Step = Callable[[Asked, bool], Call | None]


@dataclass(slots=True)
class Task:
    """What the markers say."""

    files: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    report: dict[str, Any] | None = field(default_factory=lambda: dict(_REPORT))
    say: str = "All done."
    delay_s: float = 0.0
    extra_turns: int = 0

    @classmethod
    def of(cls, text: str) -> Task:
        task = cls()
        for kind, value in _MARK.findall(text):
            if kind == "MODEL":
                for key, given in json.loads(value).items():
                    setattr(task, key, given)
            elif kind == "FILE":
                path, _, content = value.partition(" = ")
                task.files[path.strip()] = content.replace("\\n", "\n") + "\n"
            elif kind == "RUN" and value not in task.commands:
                task.commands.append(value)
            elif kind == "REPORT":
                task.report = None if value.strip() == "none" else json.loads(value)
            elif kind == "SAY":
                task.say = value
        if _only_looks(text):
            task.files, task.commands = {}, []
        return task

    def steps(self) -> list[Step]:
        steps: list[Step] = [_writing(path, content) for path, content in self.files.items()]
        steps += [_running(command) for command in self.commands]
        steps += [_running(f"echo turn {number}") for number in range(self.extra_turns)]
        if self.report is not None:
            steps.append(_reporting(self.report))
        return steps

    def as_edits(self, asked: Asked) -> str:
        """All of it as text, for a client that edits by blocks in the answer (aider)."""
        blocks = "SEARCH/REPLACE" in asked.system
        parts = []
        files = dict(self.files)
        if self.report is not None and (named := _REPORT_FILE.findall(asked.prompt)):
            files[named[-1]] = json.dumps(self.report) + "\n"
        for path, content in files.items():
            body = f"<<<<<<< SEARCH\n=======\n{content}>>>>>>> REPLACE\n" if blocks else content
            parts.append(f"{path}\n```\n{body}```\n")
        return "\n".join([*parts, self.say])


def shell(asked: Asked, command: str) -> Call | None:
    """The client's own shell tool with that command; None when it has none."""
    name = _named(asked, _SHELLS)
    if name is None:
        return None
    fields = asked.tools[name].get("properties") or {}
    field_name = next((known for known in ("command", "cmd", "script") if known in fields), "command")
    kind = (fields.get(field_name) or {}).get("type")
    given: Any = ["bash", "-lc", command] if str(kind).lower() == "array" else command
    return _complete(asked, name, {field_name: given})


def write(asked: Asked, path: str, content: str) -> Call | None:
    """The client's own tool to write a file, or else its shell."""
    name = _named(asked, _WRITERS)
    fields = (asked.tools[name].get("properties") or {}) if name else {}
    path_name = next((known for known in _PATHS if known in fields), None)
    content_name = next((known for known in _CONTENTS if known in fields), None)
    if name is None or path_name is None or content_name is None:
        return shell(asked, _heredoc(path, content))
    absolute = f"{asked.folder}/{path}" if asked.folder and not path.startswith("/") else path
    return _complete(asked, name, {path_name: absolute, content_name: content})


def instance(schema: Mapping[str, Any] | None) -> Any:
    """Something small that fits a JSON schema (also of Gemini's kind, with types in capitals)."""
    schema = schema or {}
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][-1]  # gemini-cli's "who speaks next": "user"
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return instance(schema[name][0])
    kind = schema.get("type")
    kind = str(next((k for k in kind if k != "null"), "null") if isinstance(kind, list) else kind).lower()
    if kind == "object":
        fields = schema.get("properties") or {}
        return {name: instance(fields.get(name)) for name in schema.get("required") or fields}
    plain = {"array": [], "integer": schema.get("minimum", 1), "number": schema.get("minimum", 1), "boolean": False}
    return plain.get(kind, "A story")


def _only_looks(text: str) -> bool:
    return "Plan how to do this story" in text or "Review the change with fresh eyes" in text


def _edits_by_text(asked: Asked) -> bool:
    return not asked.tools and ("SEARCH/REPLACE" in asked.system or "file listing" in asked.system)


def _named(asked: Asked, names: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in asked.tools}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _complete(asked: Asked, name: str, given: dict[str, Any]) -> Call:
    """The call with whatever else the tool requires."""
    schema = asked.tools[name]
    fields = schema.get("properties") or {}
    for wanted in schema.get("required") or []:
        if wanted not in given:
            given[wanted] = instance(fields.get(wanted))
    return Call(name, given)


def _heredoc(path: str, content: str) -> str:
    folder = f"mkdir -p {shlex.quote(path.rpartition('/')[0])} && " if "/" in path else ""
    return f"{folder}cat > {shlex.quote(path)} <<'END_OF_FILE'\n{content}END_OF_FILE"


def _writing(path: str, content: str) -> Step:
    return lambda asked, by_shell: shell(asked, _heredoc(path, content)) if by_shell else write(asked, path, content)


def _running(command: str) -> Step:
    return lambda asked, by_shell: shell(asked, command)


def _reporting(report: dict[str, Any]) -> Step:
    def step(asked: Asked, by_shell: bool) -> Call | None:
        if "report" in asked.tools:
            return Call("report", report)
        text = json.dumps(report, ensure_ascii=False)
        told = _REPORT_PATH.findall(asked.prompt)
        if told and not by_shell and _only_looks(asked.prompt):  # its shell may write nothing, its tool this one file
            return write(asked, told[-1], text)
        return shell(asked, f"cat > \"$AUTO_DEV_REPORT\" <<'END_OF_FILE'\n{text}\nEND_OF_FILE")

    return step


def _progress(items: list[Item], steps: int) -> tuple[int, bool]:
    """Which step is next, and whether it was tried with a tool that failed, so that the shell must do it."""
    number, retry = 0, False
    calls = [item for item in items if item.kind == "call"]
    results = [item for item in items if item.kind == "result"]
    for index, call in enumerate(calls):
        result = results[index] if index < len(results) else None
        failed = result is not None and (result.failed or bool(_FAILED.match(result.text)))
        if failed and not retry and number < steps and call.name.lower() in _WRITERS:
            retry = True
        else:
            number, retry = number + 1, False
    return number, retry


def over(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """The scenario with fields of its answers changed."""

    async def changed(asked: Asked) -> Answer:
        answer = scenario(asked)
        return replace(answer if isinstance(answer, Answer) else await answer, **changes)

    return changed
