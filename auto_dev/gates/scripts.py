"""Commands that run tests, in Makefiles, package.json, CI and shell scripts: gone, narrower, or unable to fail."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from auto_dev.gates.covers import meant
from auto_dev.gates.evidence import Finding, entry
from auto_dev.gates.loosened import TESTS
from auto_dev.gates.syntax.suite import language_of
from auto_dev.model import Route

_LIMIT: Final = 200_000
_MOST: Final = 300  # commands of one file
_SCRIPT: Final = re.compile(
    r"^(?:(?:gnu)?makefile|justfile|rakefile|taskfile|dockerfile[\w.-]*|jenkinsfile|procfile|package\.json|tox\.ini"
    r"|noxfile\.py|[\w.-]+\.(?:sh|bash|zsh|mk|ya?ml|ps1|bat|cmd|just))$"
)
_PROGRAMS: Final = frozenset(("bin", "script", "scripts", "ci", ".ci", ".husky", ".githooks", "hack", "tools"))
_RUNS: Final = re.compile(
    r"\bpytest\b|\bpy\.test\b|-m unittest\b|\bnosetests\b|\bgo test\b|\bgotestsum\b"
    r"|\bcargo (?:\+\S+ )?(?:test|nextest)\b|\b(?:jest|vitest|mocha)\b"
    r"|\b(?:npm|pnpm|yarn|bun|deno) (?:-\S+ )*(?:run(?:-script)? )?(?:t|test[\w:.-]*)(?=\s|$)"
    r"|\b(?:playwright|ng|react-scripts|vue-cli-service|turbo|nx|lerna run) test\b|\bcypress run\b"
    r"|\bnode (?:\S+ )*--test\b|\b(?:tox|nox|ctest|rspec|phpunit)(?=\s|$)|\bmake (?:\S+ )*(?:test|check)[\w-]*"
    r"|\bdotnet test\b|\b(?:mvn|gradle)w? (?:\S+ )*(?:test|verify|check)\b"
    r"|(?:^|\s)\S*/(?:run[-_])?tests?(?:\.(?:sh|py|js))?(?=\s|$)"
)
_NO_RUN: Final = re.compile(
    r"^(?:(?:uv )?pip3? |command -v |which |type |hash |echo\b|printf\b|cat\b|cp\b|mv\b"
    r"|rm\b|mkdir\b|\w+:\s*$|FROM\b|COPY\b|LABEL\b|source\b|\.PHONY"
    r"|(?:npm|pnpm|yarn|bun|cargo|go|apt-get|apt|brew|poetry|uv) (?:-\S+ )*(?:i|ci|install|add|get|sync)\b"
    r"|(?:name|uses|image|description|desc|help|key|path|needs)\b\s*:|if: |\w[\w.-]*\s*[<>=~!]=)"
)
_SELECTS: Final = re.compile(
    r"(?<!\S)(?:-k|-run|-skip|-t|-g|--grep|--invert|--testNamePattern|--test-name-pattern|--test-skip-pattern"
    r"|--testPathPatterns?|--ignore(?:-glob)?|--deselect|--exclude|--testPathIgnorePatterns|--skip|--filter"
    r"|-E|--grep-invert|-list|-count[= ]0|-exec|--onlyChanged|--changed"
    r"|--lf|--last-failed|--spec)(?:[= ](?:'[^']*'|\"[^\"]*\"|\S+))?"
    r"|(?<!\S)-m[= ](?!pytest|unittest|coverage|tox|nox|pip)(?:'[^']*'|\"[^\"]*\"|\S+)"
    r"|(?<!\S)(?:-short|--collect-only|--co|--list-tests|--no-run|--dry-run|--listTests|--passWithNoTests"
    r"|--pass-with-no-tests|--if-present|-DskipTests(?:=true)?|-Dmaven\.test\.skip(?:=true)?|-x test)(?=\s|$)"
)
_STRICT: Final = re.compile(
    r"(?<!\S)(?:-race|-tags[= ]\S+|-Werror|-W[ =]?error|--max-warnings[ =]\d+|--strict-markers|--forbid-only)(?=\s|$)"
)
_FLOOR: Final = re.compile(r"--(?:cov-fail-under|fail-under|lines|branches|functions|statements)[= ](\d+(?:\.\d+)?)")
_GREEN: Final = re.compile(
    r"\|\|(?!.*\b(?:exit [1-9$]|exit$|false\b|return [1-9$]|fail\w*|die\b))|;\s*(?:true|:|exit 0)\s*$"
    r"|(?<!\|)\|\s*(?:tee|cat|head|tail|grep|sed|awk)\b|(?<![&>])&\s*$"
)
_WAVED: Final = re.compile(
    r"\b(?:continue-on-error|allow_failure|ignore_errors|ignoreErrors)\s*:\s*(?:true|yes)\b"
    r"|\bif\s*:\s*(?:\$\{\{\s*)?false\b|\bwhen\s*:\s*(?:never|manual)\b|\bset \+e\b"
)
_LEAVES: Final = re.compile(r"\bexit 0\b")
_OPTIONS: Final = re.compile(r"\bPYTEST_ADDOPTS\b\s*[:=]")
_OWN: Final = (  # whose tests a command runs
    (re.compile(r"\bpytest\b|\bpy\.test\b|\bunittest\b|\b(?:tox|nox)\b"), "python"),
    (re.compile(r"\bgo(?:testsum| test)\b"), "go"),
    (re.compile(r"\bcargo\b"), "rust"),
    (re.compile(r"\b(?:jest|vitest|mocha|playwright|cypress|node|npm|pnpm|yarn|bun|deno)\b"), "javascript"),
)
_QUOTES: Final = re.compile(r"['\"]")
_ALIKE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs tests. ``green``: its failure does not count; ``label``: the script or recipe it is of."""

    line: int
    text: str
    green: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """A changed file that may run tests, on both sides."""

    path: str
    before: bytes | None
    after: bytes | None


def is_script(path: str, commands: Iterable[str] = ()) -> bool:
    """Whether commands stand in the file at ``path``."""
    name = posixpath.basename(path).lower()
    plain = "." not in name and not _PROGRAMS.isdisjoint(part.lower() for part in path.split("/")[:-1])
    return plain or _SCRIPT.match(name) is not None or any(path in command for command in commands)


def judge_scripts(scripts: Sequence[Script], story: str, tests: tuple[str, ...]) -> list[Finding]:
    """How the commands of changed files test less. A command may move from one file to another. Pure."""
    found: list[Finding] = []
    gone: list[tuple[Script, Command]] = []
    come: list[Command] = []
    asked = TESTS.search(story) is not None
    for script in scripts:
        if len(script.before or b"") > _LIMIT or len(script.after or b"") > _LIMIT:
            continue
        old, new = commands_of(script.path, script.before), commands_of(script.path, script.after)
        found += _waved(script, new, asked=asked)
        left, fresh = _unlike(old, new)
        for was in left:
            now = max(fresh, key=lambda one: _alike(was, one), default=None)
            if now is None or _alike(was, now) < _ALIKE:
                gone.append((script, was))
                continue
            fresh.remove(now)
            if how := _narrower(was, now, tests):
                found.append(_told(how, script.path, was, now, asked=asked))
        found += [
            _told("its failure does not count", script.path, None, one, asked=False) for one in fresh if one.green
        ]
        come += fresh
    for script, was in gone[len(come) :]:
        found.append(
            _told("tests are not run here any more", script.path, was, None, asked=asked or script.after is None)
        )
    return found


def commands_of(path: str, source: bytes | None) -> list[Command]:
    """The commands of a file that run tests."""
    text = (source or b"").decode("utf-8", "replace")
    if posixpath.basename(path).lower() == "package.json":
        return [one for name, value in _npm(text).items() for one in _split(0, value, name)][:_MOST]
    made: list[Command] = []
    label = ""
    makes = posixpath.basename(path).lower().endswith(("makefile", ".mk"))
    for number, line in enumerate(_joined(text), 1):
        bare = line.strip()
        if makes and (match := re.match(r"([\w.-]+)\s*:(?!=)", line)):
            label = match[1]
            bare = line.partition(";")[2].strip()
        if not bare or bare.startswith(("#", "//", "REM ", "::")):
            continue
        ignored = makes and bare[:2].lstrip("@").startswith("-")
        bare = (
            bare.lstrip("@-+ ")
            if makes
            else re.sub(r"^(?:-\s+)?(?:run|script|command|cmd)\s*:\s*[|>]?-?\s*|^-\s+", "", bare)
        )
        bare = bare.strip("'\"`,") if not makes else bare
        made += _split(number, re.sub(r"\s#\s.*$", "", bare), label, ignored=ignored)
        if len(made) >= _MOST:
            break
    return made


def _split(number: int, line: str, label: str, *, ignored: bool = False) -> list[Command]:
    """The commands of a line; what comes after ``||`` belongs to the one before it."""
    line = re.sub(r"\{[^{}]*\}", lambda match: match[0].replace(";", ","), line)
    parts = re.split(r"\s*(?:&&|;(?!\s*(?:true|:|exit 0)\s*$))\s*", line)
    return [
        Command(number, " ".join(part.split())[:500], ignored or _GREEN.search(part) is not None, label)
        for part in parts
        if _RUNS.search(part) and not _NO_RUN.match(part.strip())
    ]


def _joined(text: str) -> list[str]:
    """Lines, those that a backslash continues in one; the others stay where they were."""
    made: list[str] = []
    held, count = "", 0
    for line in text.split("\n"):
        if line.endswith("\\"):
            held, count = f"{held}{line[:-1]} ", count + 1
            continue
        made.append(held + line)
        made += [""] * count
        held, count = "", 0
    return [*made, held] if held else made


def _npm(text: str) -> dict[str, str]:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    scripts = data.get("scripts") if isinstance(data, dict) else None
    return {str(name): str(value)[:2_000] for name, value in scripts.items()} if isinstance(scripts, dict) else {}


def _unlike(old: Sequence[Command], new: Sequence[Command]) -> tuple[list[Command], list[Command]]:
    """What is on one side only."""
    known = Counter((one.text, one.green) for one in new)
    left: list[Command] = []
    for one in old:
        if known[one.text, one.green] > 0:
            known[one.text, one.green] -= 1
        else:
            left.append(one)
    fresh: list[Command] = []
    for one in reversed(new):
        if known[one.text, one.green] > 0:
            known[one.text, one.green] -= 1
            fresh.append(one)
    return left, fresh[::-1]


def _alike(one: Command, other: Command) -> float:
    ratio = SequenceMatcher(None, one.text[:200].split(), other.text[:200].split(), autojunk=False).ratio()
    return ratio + (0.5 if one.label and one.label == other.label else 0.0)


def _narrower(was: Command, now: Command, tests: tuple[str, ...]) -> str:
    """In which way ``now`` tests less than ``was``."""
    if now.green and not was.green:
        return "its failure does not count"
    known = set(_SELECTS.findall(was.text))
    for option in _SELECTS.findall(now.text):
        if option in known:
            continue
        value = re.split(r"[= ]", option, maxsplit=1)
        pathlike = len(value) == 2 and value[0] in (
            "--ignore",
            "--ignore-glob",
            "--exclude",
            "--testPathIgnorePatterns",
        )
        if not pathlike or meant([value[1]], tests):
            return f"{option} selects tests"
    if lost := set(_STRICT.findall(was.text)) - set(_STRICT.findall(now.text)):
        return f"{', '.join(sorted(lost))} is gone"
    before, after = _FLOOR.search(was.text), _FLOOR.search(now.text)
    if before and (after is None or float(after[1]) < float(before[1])):
        return f"{before[0]} was lowered"
    if picked := [word for word in _paths(now.text) if "::" in word and word not in was.text]:
        return f"only {picked[0]} is tested"
    own = next((language for pattern, language in _OWN if pattern.search(now.text)), "")
    return _fewer(_paths(was.text), _paths(now.text), [test for test in tests if own in ("", language_of(test))])


def _fewer(was: list[str], now: list[str], tests: Sequence[str]) -> str:
    if was == now or not now or not tests:
        return ""
    lost = (meant(was, tests) if was else set(tests)) - meant(now, tests)
    return f"only {' '.join(now)[:100]} is tested" if lost else ""


def _paths(text: str) -> list[str]:
    """The arguments of a command that name files, folders or packages."""
    tail = text[match.end() :] if (match := _RUNS.search(text)) else ""
    words = [word.strip("'\"") for word in re.split(r"\|\||\||>|2>&1", tail)[0].split()]
    found = []
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        valued = (
            before.startswith("-")
            and "=" not in before
            and before not in ("-v", "-q", "-race", "-x", "-s", "--", "run")
        )
        if (
            word.startswith(("-", "$", "{"))
            or valued
            or "=" in word
            or word.endswith((".toml", ".ini", ".json", ".xml", ".cfg"))
        ):
            continue
        if "/" in word or "." in word or re.fullmatch(r"\w*tests?\w*|src|spec|e2e|unit", word):
            found.append(word)
    return found


def _waved(script: Script, new: Sequence[Command], *, asked: bool) -> list[Finding]:
    """New lines that let failures pass, or end the script before its tests."""
    if not new or posixpath.basename(script.path) == "package.json" or script.before is None:
        return []
    known = Counter(line.strip() for line in script.before.decode("utf-8", "replace").split("\n"))
    last = max(one.line for one in new)
    found: list[Finding] = []
    for number, line in enumerate((script.after or b"").decode("utf-8", "replace").split("\n"), 1):
        bare = line.strip()
        if known[bare] > 0:
            known[bare] -= 1
            continue
        if not bare or bare.startswith(("#", "//")):
            continue
        leaves = _LEAVES.search(bare) and number < last and not bare.endswith(";;") and "||" not in bare
        if _WAVED.search(bare) or leaves or (_OPTIONS.search(bare) and _SELECTS.search(_QUOTES.sub(" ", bare))):
            one = Command(number, bare[:300], True)
            found.append(_told("its failure does not count", script.path, None, one, asked=asked and not leaves))
    return found


def _told(how: str, path: str, was: Command | None, now: Command | None, *, asked: bool) -> Finding:
    gone = now is None
    kind = "a command that runs tests is gone" if gone else "a command that runs tests checks less"
    if "does not count" in how:
        kind = "a check was made to pass always"
    lines = ([f"- {was.text}"] if was is not None else []) + ([f"+ {now.text}"] if now is not None else [])
    at = now.line if now is not None else None
    excerpt = "\n".join(lines)
    route = Route.PROCEED if asked else Route.REPAIR
    return Finding(route, kind, entry(f"{kind}: {how}", file=path, at=at or None, excerpt=excerpt))
