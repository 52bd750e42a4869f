"""kind = "aider": aider, with one message and then out.

Facts, tried with 0.86: it exits 0 on errors and prints text only; it has no tool to run commands and edits by blocks in
the model's answer; it looks for model prices on the network unless it finds them in its cache; what fails with 429 or
5xx it repeats for two minutes whatever ``retry-after`` says; a message that begins with "/" or "!" is a command of its
own; a ``.env`` in the repository overrides the environment. Its map of the repository leaves ``.aider.tags.cache.v*``
in the worktree, and nothing but doing without the map keeps it from that.

How the report comes: the file is put into the chat, so that the model edits it like any other. That needs a second
file that lies in the worktree: aider looks for the repository around the files that it is given, not around its folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from auto_dev.agents.base import AgentResult, AgentTask, Event, Outcome, Progress, Reported, Usage
from auto_dev.agents.cli import Invocation, Seen
from auto_dev.agents.watching import how_it_ended
from auto_dev.model import Phase
from auto_dev.processes import Finished
from auto_dev.text import line

DEFAULT_MODEL: Final = "anthropic/claude-sonnet-4-5"

_OPTIONS: Final = (
    *("--yes-always", "--no-suggest-shell-commands", "--no-detect-urls", "--disable-playwright"),
    *("--no-auto-commits", "--no-dirty-commits", "--no-gitignore", "--skip-sanity-check-repo"),
    *("--no-analytics", "--analytics-disable", "--no-check-update", "--no-show-release-notes"),
    *("--no-show-model-warnings", "--no-pretty", "--no-fancy-input"),
    "--no-stream",  # an answer that is cut off is then an error, and never half an edit
)
_VENDORS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "google": "gemini",
    "google_genai": "gemini",
}
_FOLDER: Final = ".auto-dev-aider"  # below the private home
_PRICES: Final = ".aider/caches/model_prices_and_context_window.json"
_MOST: Final = 5_000  # entries that are looked at for a file to begin with

_TOKENS: Final = re.compile(r"Tokens: (.+?) received\b")
_COUNT: Final = re.compile(r"([\d.,]+)([kM]?) (sent|cache write|cache hit|received)")
_MODEL: Final = re.compile(r"(?:Main m|M)odel: (\S+)(?: with |$)")
_ERROR: Final = re.compile(r"litellm\.\w+: |Model \S+ has hit a token limit!|litellm\.\w+Error\b")
_LOGIN: Final = "is not able to authenticate you"
_EDITED: Final = "Applied edit to "
_NOTES: Final = ("Retrying in ", "Only ", "Unable to ", "The LLM did not conform", "Skipping edits")
_START: Final = re.compile(
    r"Aider v|(?:Main|Weak|Editor) model: |Model: |Git repo: |Repo-map: |Added .+ to the chat|Creating empty file"
    r"|Analytics have been|Update git (?:name|email)|Restored previous|Git working dir|Use /help|Note: in-chat"
)


class AiderCli:
    """aider. It has one mode in every phase: its "ask" mode would also keep it from writing the report."""

    name = "aider"
    programs = ("aider",)
    install = "Run `pipx install aider-chat`."

    def invoke(self, task: AgentTask, program: str, prompt: str, session: str) -> Invocation:
        """A conversation is a file in the home; the brief is said again when it goes on, as aider shortens old talk."""
        chosen = session or f"{task.phase}-{task.round}"
        chat = f"{_FOLDER}/{chosen}.md"
        report = _report_names(task)
        files = {
            f"{_FOLDER}/message.md": _message(task, prompt, report[0] if report else None),
            f"{_FOLDER}/env": "".join(f"{name}='{value}'\n" for name, value in _endpoint(task).items()),
            # Its prices, so that it does not look for them: it shows costs, the ledger counts them.
            _PRICES: '{"none": {}}',
        }
        if not session:
            files[chat] = ""
        home = task.home
        return Invocation(
            (
                program,
                *("--model", model_name(task.config.model or DEFAULT_MODEL)),
                *_OPTIONS,
                *("--message-file", str(home / _FOLDER / "message.md"), "--env-file", str(home / _FOLDER / "env")),
                *("--chat-history-file", str(home / chat), "--restore-chat-history"),
                *("--input-history-file", str(home / _FOLDER / "input")),
                *(word for name in report for word in ("--file", str(name))),
                *(word for name in task.shown for word in ("--read", str(name))),
                # Where it may not write it cannot keep its map.
                *(("--map-tokens", "0") if task.phase is Phase.REVIEW else ()),
            ),
            env={
                **_endpoint(task),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "COLUMNS": "2000",  # it wraps what it prints
                "PYTHONUNBUFFERED": "1",
                "NO_PROXY": ",".join(part for part in (task.env.get("NO_PROXY"), "127.0.0.1", "localhost") if part),
            },
            files=files,
            session=chosen,
        )

    def read(self, text: str, seen: Seen) -> Iterable[Event]:
        """One line of what it prints for people. Each answer of the model is followed by its count of tokens."""
        if found := _TOKENS.match(text):
            seen.turns += 1
            seen.error, seen.login = "", False  # it went on
            model = next((name.removeprefix("model:") for name in seen.known if name.startswith("model:")), "")
            if model:
                yield Reported(model.rpartition("/")[2], _usage(found[0]))
        elif found := _MODEL.match(text):
            seen.known.add(f"model:{found[1]}")
        elif text.startswith(_EDITED):
            yield Progress("tool", line(f"edit {text.removeprefix(_EDITED)}"))
        elif _ERROR.match(text):
            seen.error = line(text)
            yield Progress("note", seen.error)
        elif text.startswith(_NOTES):
            yield Progress("note", line(text))
        elif _LOGIN in text:
            seen.login = bool(seen.error)
        elif not _START.match(text):
            yield Progress("text", line(text))

    def judge(self, task: AgentTask, seen: Seen, finished: Finished, errors: str) -> AgentResult:  # noqa: ARG002
        """Good is an exit of 0 after an answer that no error followed."""
        if finished.exit_code == 0 and seen.turns and not seen.error:
            return AgentResult(Outcome.FINISHED, exit_code=0)
        last = next((part for part in reversed(errors.splitlines()) if part.strip()), "")
        why = seen.error or last or how_it_ended(finished) or "it ended without an answer of a model"
        return AgentResult(Outcome.FAILED, line(why), exit_code=finished.exit_code)


def model_name(model: str) -> str:
    """The model as litellm names it, ``vendor/model``; what is of no known vendor goes to the OpenAI service."""
    for mark in (":", "/"):
        vendor, found, rest = model.partition(mark)
        if found and vendor in _VENDORS:
            return f"{_VENDORS[vendor]}/{rest}"
    bare = model.lower()
    vendor = "anthropic" if bare.startswith("claude") else "gemini" if bare.startswith("gemini") else "openai"
    return f"{vendor}/{model}"


def _endpoint(task: AgentTask) -> dict[str, str]:
    token, url = task.endpoint.token, task.endpoint.url
    return {
        "OPENAI_API_KEY": token,
        "OPENAI_API_BASE": f"{url}/v1",
        "ANTHROPIC_API_KEY": token,
        "ANTHROPIC_API_BASE": url,
        "GEMINI_API_KEY": token,
        "GEMINI_API_BASE": url,
    }


def _report_names(task: AgentTask) -> tuple[Path, ...]:
    """The report and a file of the worktree, or nothing where aider would take the report to be in a repository."""
    report = task.report_path
    if any((parent / ".git").exists() for parent in report.parents):
        return ()
    beside = _smallest_file(task.workdir)
    return (report, beside) if beside else ()


def _smallest_file(folder: Path) -> Path | None:
    """The smallest file of the highest folder that has one: it costs the least to show it to the model."""
    level, looked = [folder], 0
    while level and looked < _MOST:
        found: list[tuple[int, str]] = []
        below: list[Path] = []
        for place in level:
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        looked += 1
                        status = entry.stat(follow_symlinks=False)
                        if entry.name == ".git" or entry.name.startswith(".aider"):
                            continue
                        if stat.S_ISREG(status.st_mode):
                            found.append((status.st_size, entry.path))
                        elif stat.S_ISDIR(status.st_mode):
                            below.append(Path(entry.path))
            except OSError:  # gone, or closed to us: the next one serves as well
                continue
        if found:
            return Path(min(found)[1])
        level = below
    return None


def _message(task: AgentTask, prompt: str, report: Path | None) -> str:
    brief = task.brief.strip()
    whole = prompt if brief in prompt else f"{prompt.rstrip()}\n\nThe task was:\n\n{brief}\n"
    if report is None:
        how = (
            "You cannot write the report here, as it lies outside of this folder: leave it out, and edit no such file."
        )
    else:
        name = os.path.relpath(report, task.workdir.resolve())
        how = (
            f"The file of the report (`$AUTO_DEV_REPORT`) is in this chat as `{name}`, still empty. Write the JSON "
            "into it with an edit, in the same answer as your last edits."
        )
    # Never a command of aider's, whatever the brief begins with.
    return f"The task:\n\n{whole.rstrip()}\n\nYou cannot run commands. {how}\n"


def _usage(text: str) -> Usage:
    """``Tokens: 1.2k sent, 3.4k cache write, 5 cache hit, 50 received``: rounded, as it tells no more."""
    counts = {kind: _number(digits, unit) for digits, unit, kind in _COUNT.findall(text)}
    read, written = counts.get("cache hit", 0), counts.get("cache write", 0)
    return Usage(counts.get("sent", 0), counts.get("received", 0), read, written)


def _number(digits: str, unit: str) -> int:
    try:
        value = float(digits.replace(",", "")) * {"k": 1e3, "M": 1e6}.get(unit, 1)
    except ValueError:
        return 0
    return round(value) if value < 2**53 else 0
