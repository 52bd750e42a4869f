"""The tests that a story adds or changes, and whether something that a command says failed is one of them."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from auto_dev.gates.base import Change, GateContext
from auto_dev.gates.pairing import Place, pair_up
from auto_dev.gates.protected import protecting
from auto_dev.gates.sides import looks_like_tests
from auto_dev.gates.syntax.read import read_suite
from auto_dev.gates.syntax.suite import Case, is_test_path, language_of
from auto_dev.gates.testfiles import belongs_to_tests

_MOST: Final = 500  # tests that are looked at one by one
_PLACEHOLDER: Final = re.compile(r"%[a-z#%]|\$\{[^}]*\}|\$[\w.#]+|\{[^}]*\}")
_WHOLE_FILE: Final = re.compile(r"^(?:Test suite failed to run|\[.*\])$")
_UNITTEST: Final = re.compile(r"^(?P<name>[\w.]+) \((?P<where>[\w.<>]+)\)")
_GO_TEST: Final = re.compile(r"^(?:(?P<package>\S+)\.)?(?P<name>(?:Test|Fuzz|Example)\w*)(?:/.*)?$")
_GO_MODULE: Final = re.compile(r"^module\s+(\S+)", re.MULTILINE)
_GO_PACKAGE: Final = re.compile(r"^(?P<package>[\w./~-]+)(?: \[.*\])?$")
# A skip, as the readers of tests put it, whose whole condition is another system than the ones that commands run on.
_ON_WINDOWS: Final = re.compile(
    r"(?:\w+: )*(?:skip[iI]f\(|skip\(|[\w.]{1,20}[sS]kip(?:Now|f|Test)?\(\) if )\(?"
    r"(?:sys\.platform|os\.name|platform\.system\(\)|process\.platform|runtime\.GOOS)"
    r"(?: == \"(?:win32|nt|windows|cygwin)\"|\.startswith\(\"win(?:32)?\"\))\)*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class AddedTest:
    """A test that the story adds, or changes when ``fresh`` is false.

    ``apart``: its file can be put on another commit without bringing the story's code along. ``case`` is None for a
    whole file in a language whose tests are not read one by one. ``package``: of a Go test, with the module's name.
    """

    file: str
    case: Case | None
    fresh: bool
    apart: bool
    package: str = ""

    @property
    def name(self) -> str:
        """As a person would name it."""
        return f"{self.file}::{self.case.name}" if self.case else self.file


async def added_tests(context: GateContext) -> list[AddedTest]:
    """The tests that are new on the head or do something else than on the base.

    Left out: what is skipped (on Windows only does not count: nothing runs there) or empty, for it proves nothing, and
    the owner's tests below protected paths.
    """
    protected = context.policy.gates.tampering.protected
    before: list[Place] = []
    after: list[Place] = []
    found: list[AddedTest] = []
    for change in context.changes:
        if change.status == "D" or not language_of(change.path) or protecting(protected, change.path):
            continue
        old = change.old_path or change.path
        new_source = await context.read(context.head_sha, change.path)
        if new_source is None or not (is_test_path(change.path) or looks_like_tests(change.path, new_source)):
            continue
        old_source = None if change.status == "A" else await context.read(context.base_sha, old)
        if language_of(change.path) == "other":
            found.append(AddedTest(change.path, None, old_source is None, belongs_to_tests(change.path)))
            continue
        after += [Place(change.path, old, case) for case in read_suite(change.path, new_source).cases.values()]
        if old_source is not None:
            before += [Place(old, old, case) for case in read_suite(old, old_source).cases.values()]
        await asyncio.sleep(0)
    before += await _moved_away(context)
    found = [*found, *_differing(before, after)][:_MOST]
    return [await _with_package(test, context) if language_of(test.file) == "go" else test for test in found]


async def _with_package(test: AddedTest, context: GateContext) -> AddedTest:
    """With the package's full name, by the nearest go.mod above the file."""
    folder = posixpath.dirname(test.file)
    above = folder
    while True:
        source = await context.read(context.head_sha, posixpath.join(above, "go.mod"))
        if source is not None and (module := _GO_MODULE.search(source.decode("utf-8", "replace"))):
            inside = posixpath.relpath(folder or ".", above or ".")
            return replace(test, package=module[1] if inside == "." else f"{module[1]}/{inside}")
        if not above:
            return test
        above = posixpath.dirname(above)


async def _moved_away(context: GateContext) -> list[Place]:
    """The tests of files that are gone: one that lives on elsewhere is not new."""
    places: list[Place] = []
    for change in context.changes:
        if change.status == "D" and is_test_path(change.path):
            source = await context.read(context.base_sha, change.path)
            cases = read_suite(change.path, source).cases if source is not None else {}
            places += [Place(change.path, change.path, case) for case in cases.values()]
    return places


def _differing(before: Sequence[Place], after: Sequence[Place]) -> list[AddedTest]:
    known = {id(pair.after): pair.before for pair in pair_up(before, after) if pair.after is not None}
    found: list[AddedTest] = []
    for place in after:
        old, case = known.get(id(place)), place.case
        if case.empty or not runs_here(case) or (old is not None and _same(old.case, case)):
            continue
        found.append(AddedTest(place.file, case, old is None, belongs_to_tests(place.file)))
    return found


def runs_here(case: Case) -> bool:
    """Whether nothing skips ``case``, but on a system that commands do not run on. Pure."""
    return all(map(_ON_WINDOWS.fullmatch, case.skips))


def _same(old: Case, new: Case) -> bool:
    return (old.low, old.high, dict(old.words)) == (new.low, new.high, dict(new.words))


def supporting(changes: Iterable[Change], protected: Sequence[str] = ()) -> tuple[str, ...]:
    """The changed files that go with the tests when those are put on another commit, by all their names. Pure."""
    names = (name for change in changes for name in (change.path, change.old_path))
    wanted = (name for name in names if name and belongs_to_tests(name) and not protecting(protected, name))
    return tuple(dict.fromkeys(wanted))


def named_in(test: AddedTest, failures: Iterable[str]) -> bool:
    """Whether one of ``failures`` (as ``parse_failures`` names them) is ``test``, or its whole file. Pure."""
    return any(is_named(test, failure) for failure in failures)


def is_named(test: AddedTest, failure: str) -> bool:
    """The same for one failure."""
    file, tail = _split(failure)
    if file and not same_file(file, test.file):
        return False
    if file and (not tail or _WHOLE_FILE.match(tail)):
        return True
    if test.case is None:
        stem = posixpath.basename(test.file).split(".", 1)[0]
        return re.search(rf"(?<![\w]){re.escape(stem)}(?![\w])", failure) is not None
    language = language_of(test.file)
    if language == "python":
        return _python(test.file, test.case, bool(file), tail)
    if language == "go":
        return _go(test, test.case.leaf, failure)
    if language == "rust":
        return tail == test.case.name or tail.endswith("::" + test.case.name)
    return _javascript(test.case, tail)


def same_file(one: str, other: str) -> bool:
    """Whether two paths are one file, seen from different folders: the shorter one ends the longer one."""
    short, long = sorted((one.removeprefix("./"), other.removeprefix("./")), key=len)
    return long == short or long.endswith("/" + short)


def _split(failure: str) -> tuple[str, str]:
    """The file that ``failure`` begins with, and what follows; a complaint of a compiler is about the whole file."""
    for mark in ("::", " > "):
        head, found, tail = failure.partition(mark)
        if found and language_of(head):
            return head, tail
    head = failure.partition(": ")[0]
    return (head, "") if language_of(head) and " " not in head else ("", failure)


def _python(file: str, case: Case, in_file: bool, tail: str) -> bool:
    if in_file:
        return tail.split("[", 1)[0].replace("::", ".") == case.name
    match = _UNITTEST.match(tail)
    if match is None:
        return False
    module, name = posixpath.splitext(file)[0].replace("/", "."), match["name"]
    if "_FailedTest" in match["where"]:
        return _ends(module, name)
    where = match["where"].removesuffix("." + name)
    owner, _, leaf = case.name.rpartition(".")
    if name in ("setUpModule", "tearDownModule"):
        return _ends(module, where)
    return (name in (leaf, "setUpClass", "tearDownClass")) and _ends(f"{module}.{owner}", where)


def _ends(whole: str, part: str) -> bool:
    return whole == part or whole.endswith("." + part) or part.endswith("." + whole)


def _go(test: AddedTest, leaf: str, failure: str) -> bool:
    if match := _GO_TEST.match(failure):
        return match["name"] == leaf and (match["package"] is None or _in_package(test, match["package"]))
    match = _GO_PACKAGE.match(failure)
    return match is not None and _in_package(test, match["package"])


def _in_package(test: AddedTest, package: str) -> bool:
    folder = posixpath.dirname(test.file)
    return package == test.package if test.package else _ends(folder.replace("/", "."), package.replace("/", "."))


def _javascript(case: Case, tail: str) -> bool:
    said, wanted, leaf = _plain(tail), _plain(case.name), _plain(case.leaf)
    if said.replace(" > ", " ") == wanted.replace(" > ", " "):  # mocha joins with spaces
        return True
    return _fits(wanted, said) or _fits(leaf, said)


def _fits(wanted: str, said: str) -> bool:
    """Whether ``said`` is ``wanted`` with something in the place of each placeholder."""
    first, *parts = _PLACEHOLDER.split(wanted)
    if not parts:
        return said == wanted
    if not said.startswith(first):
        return False
    at = len(first)
    for part in parts[:-1]:
        found = said.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return said.endswith(parts[-1]) and len(said) - len(parts[-1]) >= at


def _plain(name: str) -> str:
    return " ".join(name.replace(" › ", " > ").replace("\\", "").split())
