"""What the evidence in a report names, and whether it is there: a claim counts for what can be found of it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from auto_dev.config import CommandGate
from auto_dev.gates.added import AddedTest, same_file
from auto_dev.gates.base import Change, GateContext
from auto_dev.gates.observed import Observation, names_runner, runs_tests
from auto_dev.gates.special import DATA_FILES
from auto_dev.gates.syntax.suite import LANGUAGES
from auto_dev.text import line

_LIMIT: Final = 2_000  # characters of one piece of evidence
_TOKEN: Final = re.compile(r"[^\s`'\"<>|,;()]+")
_TRIM: Final = ".,:;!?*[]{}"
_PLACE: Final = re.compile(r"^(?P<path>.*?)(?:(?::|#L?)(?P<line>\d+)(?:[-:]L?\d+)*)?$")
_QUOTED: Final = re.compile(r"`([^`\n]{2,80})`")
_NAME: Final = re.compile(r"[A-Za-z_][\w.:]*(?:\(\))?")
_IDENTIFIER: Final = re.compile(
    r"(?<![\w-])(?:--[a-z][\w-]+|[A-Za-z]\w*(?:[_.]\w+)+|[a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*|\w+(?=\(\)))"
)
_SUITE: Final = re.compile(
    r"\b(?:all|existing|full|whole|entire)\b.{0,20}\b(?:tests?|suite)\b|\btests?(?: suite)?(?: still| all)? pass",
    re.IGNORECASE,
)
# A test by its name alone, as Python and Go write them; not the name of a file.
_TEST_NAME: Final = re.compile(r"(?<![\w/.:-])(?:test_\w{3,}|Test[A-Z]\w{2,})(?!\w|\.\w|::|/)")
_GENERIC: Final = frozenset(
    (
        "python",
        "python3",
        "exec",
        "bash",
        "test",
        "tests",
        "true",
        "false",
        "echo",
        "make",
        "node",
        "npx",
        "poetry",
        "run",
    )
)
_SUFFIXES: Final = frozenset(
    (
        *LANGUAGES,
        *DATA_FILES,
        ".scss",
        ".less",
        ".sql",
        ".proto",
        ".graphql",
        ".xml",
        ".cfg",
        ".rst",
        ".h",
        ".hpp",
        ".tf",
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What one piece of evidence names.

    ``tests``: tests that the story adds or changes; ``there``: what else is there, in words; ``missing``: what is not.
    All three are empty where it says nothing that could be looked up.
    """

    text: str
    tests: tuple[Observation, ...] = ()
    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return bool(self.tests or self.there)


@dataclass(slots=True)
class _Found:
    tests: dict[int, Observation] = field(default_factory=dict)
    there: dict[str, None] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)

    def add(self, observations: Iterable[Observation]) -> bool:
        found = list(observations)
        self.tests |= {id(each): each for each in found}
        return bool(found)


async def resolve(text: str, context: GateContext, observations: Sequence[Observation]) -> Named:
    """What ``text`` names: tests by name, files by path, commands, and in the end words that the code has."""
    text = text[:_LIMIT]
    found = _Found()
    rest = text
    for token in dict.fromkeys(each.strip(_TRIM) for each in _TOKEN.findall(text)):
        if "::" in token:
            await _node(token, context, observations, found)
            rest = rest.replace(token, " ")
    found.add(each for each in observations if _mentions(rest, each.test))
    if invented := await _invented(rest, context, found):
        # The file that it names beside an invented test shows nothing.
        found.missing |= {f"{line(name, 200)} does not exist": None for name in invented}
        return Named(text, tuple(found.tests.values()), (), tuple(found.missing))
    for token in dict.fromkeys(each.strip(_TRIM) for each in _TOKEN.findall(rest)):
        await _path(token, context, observations, found)
    found.there |= {f"the command {each.name}": None for each in context.policy.gates.command if _calls(text, each)}
    if not found.tests and not found.there and not found.missing:
        await _words(text, context, found)
    if not found.tests and not found.there and not found.missing and _tells_of_run(text) and not _sees_tests(context):
        found.there["a run of tests that nobody could see: no configured command runs them"] = None
    return Named(text, tuple(found.tests.values()), tuple(found.there), tuple(found.missing))


async def _invented(text: str, context: GateContext, found: _Found) -> list[str]:
    """Names of tests in ``text`` that are nowhere in the files of the head."""
    if context.holds is None:
        return []
    known = {each.test.case.leaf for each in found.tests.values() if each.test.case is not None}
    names = [name for name in dict.fromkeys(_TEST_NAME.findall(text)) if name not in known]
    return [name for name in names[:5] if not await context.holds(name)]


def _tells_of_run(text: str) -> bool:
    return _SUITE.search(text) is not None or names_runner(text)


def _sees_tests(context: GateContext) -> bool:
    """Whether a configured command shows how tests end; else no agent could prove a word about them."""
    gates = context.policy.gates
    if gates.proof.commands:
        return True
    return any(runs_tests(each, [context.baseline.get(each.name)]) for each in gates.command)


async def _node(token: str, context: GateContext, observations: Sequence[Observation], found: _Found) -> None:
    """``tests/a.py::TestX::test_y[1]``, ``TestX::test_y``: exactly this test, or all of a class."""
    head, _, inner = token.partition("::")
    named_file = _is_file_name(head)
    wanted = (inner if named_file else token).split("[", 1)[0].replace("::", ".")
    fitting = [
        each
        for each in observations
        if each.test.case is not None
        and (not named_file or same_file(head, each.test.file))
        and f".{each.test.case.name.replace('::', '.')}.".find(f".{wanted}.") >= 0
    ]
    if found.add(fitting):
        return
    file = await _file(head, context) if named_file else None
    leaf = wanted.rsplit(".", 1)[-1]
    if file is not None and (source := await context.read(context.head_sha, file)) is not None:
        if re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", source.decode("utf-8", "replace")):
            found.there[f"{line(token, 200)} is there"] = None
            return
    elif not named_file and context.holds is not None and await context.holds(leaf):
        found.there[f"{line(token, 200)} is there"] = None
        return
    found.missing[f"{line(token, 200)} does not exist"] = None


async def _path(token: str, context: GateContext, observations: Sequence[Observation], found: _Found) -> None:
    place = _PLACE.match(token)
    if place is None or "://" in token:
        return
    path = place["path"].rstrip("/").removeprefix("./")
    if not _is_file_name(path):
        if len(path) > 2 and (change := _change(path, context.changes)) is not None:  # whatever its suffix
            found.there[_done(change)] = None
            return
        if "/" in path and any(change.path.startswith(path + "/") for change in context.changes):
            found.there[f"files below {path} were changed"] = None
        return
    inside = [each for each in observations if same_file(path, each.test.file)]
    if any(id(each) in found.tests for each in inside):
        return  # it also says which test
    if inside:
        found.add(_at_line(inside, int(place["line"])) if place["line"] else inside)
        return
    change = _change(path, context.changes)
    if change is not None:
        found.there[_done(change)] = None
    elif (file := await _file(path, context)) is not None:
        found.there[f"{file} is there, unchanged"] = None
    else:
        found.missing[f"{line(path, 200)} does not exist"] = None


def _done(change: Change) -> str:
    return f"{change.path} was {({'A': 'added', 'D': 'deleted'}).get(change.status, 'changed')}"


def _at_line(inside: Sequence[Observation], number: int) -> list[Observation]:
    """The test that holds a line: the last one that begins before it; all, where that cannot be told."""
    above = [each for each in inside if each.test.case is not None and each.test.case.line <= number]
    latest = max((each.test.case.line for each in above if each.test.case is not None), default=0)
    return [each for each in above if each.test.case is not None and each.test.case.line == latest] or list(inside)


async def _words(text: str, context: GateContext, found: _Found) -> None:
    """Names in prose: of what the changed files hold now, or else of anything on the head."""
    words = list(dict.fromkeys([*_QUOTED.findall(text), *_IDENTIFIER.findall(text)]))[:5]
    for change in context.changes[:50]:
        if not words or change.status == "D" or change.binary:
            continue
        source = (await context.read(context.head_sha, change.path) or b"").decode("utf-8", "replace")
        for word in [word for word in words if word in source]:
            found.there[f"{change.path} has {line(word, 80)}"] = None
            words.remove(word)
    if found.there or context.holds is None:
        return
    for word in words:
        if await context.holds(word):
            found.there[f"{line(word, 80)} is there, unchanged"] = None
        elif _NAME.fullmatch(word) and f"`{word}`" in text:
            found.missing[f"{line(word, 80)} is in no file"] = None


def _mentions(text: str, test: AddedTest) -> bool:
    if test.case is None:
        stem = posixpath.basename(test.file).split(".", 1)[0]
        return re.search(rf"(?<![\w/]){re.escape(stem)}(?!\w)", text) is not None
    leaf = " ".join(test.case.leaf.split())
    if len(leaf) < 4:
        return False
    return re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", " ".join(text.split())) is not None


def _calls(text: str, command: CommandGate) -> bool:
    """Whether ``text`` names the command, or all the tests where the command may run them."""
    if command.run in text or f"`{command.name}`" in text or _SUITE.search(text):
        return True
    words = {word for word in re.findall(r"[A-Za-z][\w.-]{3,}", command.run) if word not in _GENERIC}
    return any(re.search(rf"(?<![\w/.-]){re.escape(word)}(?![\w/.])", text) for word in words)


def _change(path: str, changes: Iterable[Change]) -> Change | None:
    return next((change for change in changes if _fits(path, change.path) or _fits(path, change.old_path or "")), None)


def _fits(path: str, other: str) -> bool:
    return bool(other) and same_file(path, other)


async def _file(path: str, context: GateContext) -> str | None:
    """The file of the head that ``path`` names, perhaps seen from another folder."""
    paths = await context.paths(context.head_sha)
    return path if path in paths else next((each for each in paths if same_file(path, each)), None)


def _is_file_name(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in _SUFFIXES and not path.endswith("/")
