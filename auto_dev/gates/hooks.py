"""What a test file does to tests other than its own: hooks of pytest, fixtures for all, ``TestMain``, set-up files."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from auto_dev.gates.evidence import Finding, entry
from auto_dev.gates.loosened import TESTS
from auto_dev.gates.syntax.canon import canonical
from auto_dev.gates.syntax.claims import truth_of
from auto_dev.gates.syntax.code import (
    Bind,
    Body,
    Call,
    Do,
    Expr,
    Function,
    Group,
    Index,
    Lambda,
    Leave,
    Literal,
    Member,
    Name,
    Stmt,
    Try,
    Unit,
    dotted,
    leaf,
    parts,
    statements,
    walk,
)
from auto_dev.gates.syntax.lower_go import lower_go
from auto_dev.gates.syntax.lower_javascript import lower_javascript
from auto_dev.gates.syntax.lower_python import lower_python
from auto_dev.gates.syntax.parse import TooLong, measured
from auto_dev.gates.syntax.suite import MAX_SOURCE, is_test_path, language_of
from auto_dev.model import Route

_SETUP: Final = re.compile(r"(?i)(?:set-?up|jest|vitest|mocha|playwright|karma|ava|helpers?|reporter|runner|env)")
_SKIP: Final = frozenset(("skip", "xfail", "skipif", "skipTest", "importorskip"))
_RESULT: Final = frozenset(("outcome", "excinfo", "exitstatus", "wasxfail", "exitCode", "testsfailed"))
_BODIES: Final = frozenset(("runtest", "obj", "_obj"))
_CHOICE: Final = frozenset(("markexpr", "keyword", "deselect", "ignore", "ignore_glob", "lf"))
_ANSWERS: Final = frozenset((
    "pytest_ignore_collect", "pytest_pyfunc_call", "pytest_runtest_protocol", "pytest_runtest_call",
    "pytest_runtestloop", "pytest_collection", "pytest_pycollect_makeitem", "pytest_pycollect_makemodule",
))  # fmt: skip
_TESTERS: Final = frozenset(("it", "test", "describe", "expect", "assert"))
_BEFORE: Final = frozenset(("beforeEach", "beforeAll", "before", "setup"))


@dataclass(frozen=True, slots=True)
class Act:
    """``text``: in one spelling, to tell what was there before."""

    line: int
    kind: str
    text: str


def judge_hooks(
    path: str, before: bytes | None, after: bytes | None, story: str, tests: tuple[str, ...]
) -> list[Finding]:
    """What keeps other tests from running or from failing now; only noted where the story speaks of it. Pure."""
    if after is None or not _concerns(path) or max(len(before or b""), len(after)) > MAX_SOURCE:
        return []
    folder = posixpath.dirname(path)
    if not any(test.startswith(f"{folder}/" if folder else "") for test in tests):
        return []  # there are none here that ran before
    known = Counter(act.text for act in acts_of(path, before or b""))
    found: list[Finding] = []
    for act in acts_of(path, after):
        if known[act.text] > 0:
            known[act.text] -= 1
            continue
        route = Route.PROCEED if TESTS.search(story) else Route.REPAIR
        found.append(Finding(route, act.kind, entry(act.kind, file=path, at=act.line, excerpt=act.text[:300])))
    return found[:10]


def acts_of(path: str, source: bytes) -> list[Act]:
    """What the source does to other tests. Never raises."""
    language = language_of(path)
    try:
        with measured():
            if language == "python":
                return list(_python(lower_python(source)))
            if language == "go":
                return list(_go(lower_go(source)))
            return list(_javascript(lower_javascript(source, "tsx" if path.endswith("x") else "typescript")))
    except (TooLong, SyntaxError, LookupError):
        return []  # the tests of such a file cannot be read either, which is told


def _concerns(path: str) -> bool:
    name = posixpath.basename(path)
    language = language_of(path)
    if language == "python":
        return name == "conftest.py" or is_test_path(path) or "pytest" in name or "plugin" in name
    if language == "go":
        return name.endswith("_test.go")
    return language == "javascript" and (is_test_path(path) or _SETUP.search(name) is not None)


def _python(unit: Unit) -> Iterator[Act]:
    for statement in unit.body:
        if isinstance(statement, Bind):
            for target in statement.targets:
                if isinstance(target, Member) and (
                    target.name.startswith("assert")
                    or dotted(target) in ("pytest.raises", "pytest.fail", "pytest.warns")
                ):
                    yield Act(statement.line, "an assertion of the framework is replaced", canonical(target))
        elif isinstance(statement, Do) and _ends_well(statement.value):
            yield Act(statement.line, "the test run is ended as a success", canonical(statement.value))
    for function in statements(unit.body):
        if not isinstance(function, Function):
            continue
        if function.name == "load_tests":
            yield Act(function.line, "a hook replaces tests", "load_tests")
        elif function.name.startswith("pytest_"):
            yield from _hook(function)
        elif any(_for_all(decorator) for decorator in function.decorators):
            yield from _skipping(function.body, "a fixture for all tests skips them")


def _for_all(decorator: Expr) -> bool:
    return (
        isinstance(decorator, Call)
        and leaf(decorator) == "fixture"
        and (given := decorator.keyword("autouse")) is not None
        and truth_of(given) is not False
    )


def _hook(function: Function) -> Iterator[Act]:
    yield from _skipping(function.body, "a hook skips tests")
    for statement in statements(function.body):
        if isinstance(statement, Bind):
            yield from _bound(statement)
        elif isinstance(statement, Leave) and statement.kind == "return" and function.name in _ANSWERS:
            if statement.value is not None and truth_of(statement.value) is not False and not _none(statement.value):
                yield Act(statement.line, "a hook keeps tests from running", canonical(statement.value))
        elif isinstance(statement, Try) and function.name in _ANSWERS and statement.handlers:
            yield Act(statement.line, "a hook swallows what tests raise", function.name)
        for call in _calls(statement):
            name = leaf(call)
            owner = call.function.owner if isinstance(call.function, Member) else None
            if (
                name == "pytest_deselected"
                or (name in ("remove", "pop", "clear") and owner is not None and leaf(owner) == "items")
                or (name in ("append", "extend", "insert") and owner is not None and leaf(owner) == "args")
            ):
                yield Act(statement.line, "a hook deselects tests", canonical(call))
            elif name in ("force_result", "force_exception") or (
                name == "setattr"
                and isinstance(call.argument(1), Literal)
                and getattr(call.argument(1), "text", "") in _RESULT
            ):
                yield Act(statement.line, "a hook changes the outcome of tests", canonical(call))
            elif _ends_well(call):
                yield Act(statement.line, "the test run is ended as a success", canonical(call))


def _bound(statement: Bind) -> Iterator[Act]:
    text = canonical(statement.value) if statement.value is not None else ""
    for target in statement.targets:
        if isinstance(target, Index) and leaf(target.owner) in ("items", "args", "testpaths"):
            ordered = isinstance(statement.value, Call) and leaf(statement.value) in ("sorted", "reversed", "list")
            together = getattr(statement.value, "operator", "") == "+"
            if leaf(target.owner) != "items" or not (ordered or together):
                yield Act(statement.line, "a hook deselects tests", f"{canonical(target)} = {text}")
        elif isinstance(target, Member) and target.name in _RESULT:
            yield Act(statement.line, "a hook changes the outcome of tests", f"{canonical(target)} = {text}")
        elif isinstance(target, Member) and target.name in _BODIES and statement.value is not None:
            yield Act(statement.line, "a hook replaces tests", f"{canonical(target)} = {text}")
        elif isinstance(target, Member) and target.name in _CHOICE and leaf(target.owner) == "option":
            yield Act(statement.line, "a hook deselects tests", f"{canonical(target)} = {text}")


def _skipping(body: Body, kind: str) -> Iterator[Act]:
    """Calls of ``pytest.skip`` and skip marks that are put onto tests."""
    marks: set[str] = set()
    for statement in statements(body):
        value = statement.value if isinstance(statement, Bind) else None
        if value is not None and _marks(value) and isinstance(statement, Bind):
            marks.update(statement.names)
        for call in _calls(statement):
            given = call.argument(0)
            marked = leaf(call) == "add_marker" and given is not None and (
                _marks(given) or (isinstance(given, Name) and given.name in marks)
            )  # fmt: skip
            plain = leaf(call) in _SKIP and not dotted(call.function).startswith(("pytest.mark", "mark."))
            if marked or plain:
                yield Act(statement.line, kind, canonical(call))


def _marks(node: Expr) -> bool:
    return any(
        isinstance(part, Member) and part.name in _SKIP and leaf(part.owner) == "mark" for part in walk(node)
    ) or (isinstance(node, Literal) and node.text in _SKIP)


def _go(unit: Unit) -> Iterator[Act]:
    for function in unit.body:
        if not isinstance(function, Function) or function.name not in ("TestMain", "init"):
            continue
        calls = [(s.line, call) for s in statements(function.body) for call in _calls(s)]
        if function.name == "TestMain" and not any(leaf(call) == "Run" for _, call in calls):
            yield Act(function.line, "TestMain runs no tests", "TestMain without Run")
        for line, call in calls:
            if _ends_well(call):
                yield Act(line, "the test run is ended as a success", canonical(call))
            elif dotted(call.function) == "flag.Set" and "test." in canonical(call):
                yield Act(line, "tests are deselected", canonical(call))


def _javascript(unit: Unit) -> Iterator[Act]:
    for statement in statements(unit.body):
        if isinstance(statement, Bind):
            for target in statement.targets:
                path = dotted(target)
                if path == "process.exitCode" and statement.value is not None and canonical(statement.value) == "0":
                    yield Act(statement.line, "the test run is ended as a success", f"{path} = 0")
                elif path.split(".")[0] in ("global", "globalThis") and leaf(target) in _TESTERS:
                    yield Act(statement.line, "a function of the framework is replaced", path)
        for call in _calls(statement):
            yield from _javascript_call(call, statement.line)


def _javascript_call(call: Call, line: int) -> Iterator[Act]:
    name, path = leaf(call), dotted(call.function)
    if _ends_well(call):
        yield Act(line, "the test run is ended as a success", canonical(call))
    elif path in ("jest.retryTimes", "this.retries"):
        yield Act(line, "failing tests are run again", canonical(call))
    elif path == "expect.extend" and any(_overrides(one) for one in call.arguments):
        yield Act(line, "an assertion of the framework is replaced", "expect.extend")
    elif name in _BEFORE and isinstance(call.function, Name):
        for given in call.arguments:
            if isinstance(given, Lambda):
                yield from _hook_skips(given.function.body)


def _hook_skips(body: Body) -> Iterator[Act]:
    for statement in statements(body):
        for call in _calls(statement):
            if leaf(call) == "skip" and dotted(call.function).split(".")[0] in (
                "this",
                "ctx",
                "context",
                "t",
                "test",
                "task",
            ):
                yield Act(statement.line, "a hook skips tests", canonical(call))


def _overrides(node: Expr) -> bool:
    """Whether one of the framework's own matchers is defined anew."""
    keys = [getattr(item, "key", None) for item in node.items] if isinstance(node, Group) else []
    return any(
        re.match(r"to(?:Be|Equal|StrictEqual|Match|Throw|Contain|HaveBeenCalled\w*)$", leaf_text(key)) for key in keys
    )


def leaf_text(node: Expr | None) -> str:
    return node.text if isinstance(node, Literal) else leaf(node) if node is not None else ""


def _ends_well(node: Expr) -> bool:
    """``sys.exit(0)``, ``os._exit(0)``, ``os.Exit(0)``, ``process.exit(0)``."""
    if not isinstance(node, Call) or dotted(node.function) not in (
        "sys.exit", "os._exit", "exit", "os.Exit", "process.exit", "syscall.Exit",
    ):  # fmt: skip
        return False
    given = node.argument(0)
    return given is None or (isinstance(given, Literal) and given.text in ("0", ""))


def _none(node: Expr) -> bool:
    return isinstance(node, Literal) and node.kind == "null"


def _calls(statement: Stmt) -> Iterator[Call]:
    """The calls directly in a statement."""
    for expression in parts(statement)[0]:
        for part in walk(expression):
            if isinstance(part, Call):
                yield part
