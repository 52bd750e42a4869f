"""Tests deleted, skipped, emptied, weakened: what must be caught, and what honest work must not be stopped for."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.config import CommandGate, Config, GatesConfig
from auto_dev.gates.base import Change, CommandOutcome, GateContext, Judgement
from auto_dev.gates.syntax import parse
from auto_dev.gates.syntax.read import read_suite
from auto_dev.gates.tampering import TamperingGate
from auto_dev.model import Route, Verdict
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

Files = Mapping[str, str | bytes]


def judge(
    before: Files,
    after: Files,
    *,
    goal: str = "",
    renames: Mapping[str, str] | None = None,
    commands: tuple[str, ...] = (),
    links: tuple[str, ...] = (),
) -> Judgement:
    """The gate's judgement of the step from the files ``before`` to the files ``after``; ``renames``: new → old."""
    old = {path: _bytes(text) for path, text in before.items()}
    new = {path: _bytes(text) for path, text in after.items()}
    moved = dict(renames or {})
    changes = [Change(path, "R", 1, 1, old_path=moved[path]) for path in new if path in moved]
    changes += [Change(path, "A", 1, 0) for path in new if path not in old and path not in moved]
    modes = dict.fromkeys(links, "120000")
    edited = [path for path in new if path in old and old[path] != new[path]]
    changes += [Change(path, "M", 1, 1, mode=modes.get(path, "100644")) for path in edited]
    changes += [
        Change(path, "D", 0, 1, mode="000000") for path in old if path not in new and path not in moved.values()
    ]

    async def read(rev: str, path: str) -> bytes | None:
        return (old if rev == "base" else new).get(path)

    async def paths(rev: str) -> tuple[str, ...]:
        return tuple(old if rev == "base" else new)

    async def nothing(*_: object) -> str:
        raise AssertionError("the tampering gate needs no diff and runs no command")

    async def no_command(gate: CommandGate, sha: str) -> CommandOutcome:
        raise AssertionError("the tampering gate runs no command")

    configured = [CommandGate(name=f"c{number}", run=run) for number, run in enumerate(commands)]
    context = GateContext(
        story=Story(id="S-1", title="A story", path="S-1.md", goal=goal),
        policy=Config(gates=GatesConfig(command=configured)),
        base_sha="base",
        head_sha="head",
        round=0,
        changes=tuple(changes),
        report=None,
        report_problem="",
        baseline={},
        read=read,
        diff=nothing,
        run_command=no_command,
        paths=paths,
    )
    return asyncio.run(TamperingGate().judge(context))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else textwrap.dedent(text).encode()


@dataclass(frozen=True)
class Step:
    """What a story did to one test file, and what must be said about it: a part of the reason, or "" for a pass."""

    name: str
    before: str
    after: str
    says: str = ""


def kept(judgement: Judgement, step: Step) -> None:
    """Nothing stops, and nothing is said but what the step says."""
    assert judgement.route is Route.PROCEED, judgement
    assert (judgement.verdict is Verdict.CONCERNS) == bool(step.says), judgement
    assert step.says in judgement.reason


PY = """
    import pytest
    from app import add, total

    def test_add():
        assert add(1, 2) == 3
        assert add(0, 0) == 0

    def test_total():
        result = total([1, 2, 3])
        assert result == 6
    """


PYTHON_CAUGHT = [
    Step("removed", PY, PY.split("    def test_total")[0], "test removed"),
    Step(
        "renamed so that pytest takes it no more",
        PY,
        PY.replace("    def test_total():", "    def helper_total():"),
        "no test runner takes it",
    ),
    Step(
        "skip mark", PY, PY.replace("    def test_total", "    @pytest.mark.skip\n    def test_total"), "test skipped"
    ),
    Step(
        "skipif mark",
        PY,
        PY.replace("    def test_add", "    @pytest.mark.skipif(True, reason='')\n    def test_add"),
        "skipped",
    ),
    Step(
        "xfail mark",
        PY,
        PY.replace("    def test_add", "    @pytest.mark.xfail(strict=False)\n    def test_add"),
        "skipped",
    ),
    Step(
        "skip by alias",
        PY,
        PY.replace("    def test_add", "    later = pytest.mark.skip('x')\n    @later\n    def test_add"),
        "skipped",
    ),
    Step(
        "skip call",
        PY,
        PY.replace("        result =", "        pytest.skip('later')\n        result ="),
        "test skipped",
    ),
    Step(
        "module skip",
        PY,
        PY.replace("    def test_add", "    pytestmark = pytest.mark.skip\n    def test_add", 1),
        "skipped",
    ),
    Step(
        "module skip call",
        PY,
        PY.replace("    def test_add", "    pytest.skip('x', allow_module_level=True)\n    def test_add", 1),
        "skipped",
    ),
    Step("emptied", PY, PY.replace("result = total([1, 2, 3])\n        assert result == 6", "pass"), "test emptied"),
    Step(
        "docstring only",
        PY,
        PY.replace("result = total([1, 2, 3])\n        assert result == 6", '"""Later."""'),
        "emptied",
    ),
    Step("assertion removed", PY, PY.replace("        assert add(0, 0) == 0\n", ""), "assertions removed"),
    Step("assert True", PY, PY.replace("assert result == 6", "assert True"), "assertions removed"),
    Step("assert on a tuple", PY, PY.replace("assert result == 6", "assert (result == 6, 'no')"), "assertion weakened"),
    Step("assert or True", PY, PY.replace("assert result == 6", "assert result == 6 or True"), "assertion weakened"),
    Step(
        "assert equal to itself", PY, PY.replace("assert result == 6", "assert result == result"), "assertion weakened"
    ),
    Step(
        "early return",
        PY,
        PY.replace("        assert result == 6", "        return\n        assert result == 6"),
        "assertions removed",
    ),
    Step(
        "never true",
        PY,
        PY.replace("        assert result == 6", "        if False:\n            assert result == 6"),
        "assertions removed",
    ),
    Step(
        "swallowed",
        PY,
        PY.replace(
            "        assert result == 6",
            "        try:\n            assert result == 6\n        except AssertionError:\n            pass",
        ),
        "assertion weakened",
    ),
    Step("shadowed by a second definition", PY, PY + "\n    def test_total():\n        pass\n", "test emptied"),
    Step("taken away after its definition", PY, PY + "\n    test_total = None\n", "test removed"),
    Step("marked as no test", PY, PY + "\n    test_total.__test__ = False\n", "test removed"),
    Step("syntax error", PY, PY + "\n    def broken(:\n", "test file cannot be read"),
    Step(
        "class not collected any more",
        "class TestA:\n    def test_a(self):\n        assert f() == 1\n",
        "class TestA:\n    def __init__(self): ...\n    def test_a(self):\n        assert f() == 1\n",
        "test removed",
    ),
    Step(
        "unittest skip",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(), 1)\n",
        "import unittest\n@unittest.skip('x')\nclass T(unittest.TestCase):\n"
        "    def test_a(self):\n        self.assertEqual(f(), 1)\n",
        "test skipped",
    ),
    Step(
        "skipTest",
        "class T(TestCase):\n    def test_a(self):\n        self.assertEqual(f(), 1)\n",
        "class T(TestCase):\n    def test_a(self):\n        self.skipTest('x')\n        self.assertEqual(f(), 1)\n",
        "test skipped",
    ),
    Step(
        "assertTrue(True)",
        "class T(TestCase):\n    def test_a(self):\n        self.assertEqual(f(), 1)\n",
        "class T(TestCase):\n    def test_a(self):\n        f()\n        self.assertTrue(True)\n",
        "assertions removed",
    ),
    Step(
        "rows dropped",
        "@pytest.mark.parametrize('x', [1, 2, 3])\ndef test_a(x):\n    assert f(x) > 0\n",
        "@pytest.mark.parametrize('x', [1])\ndef test_a(x):\n    assert f(x) > 0\n",
        "rows removed",
    ),
    Step(
        "row skipped",
        "@pytest.mark.parametrize('x', [1, 2])\ndef test_a(x):\n    assert f(x) > 0\n",
        "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.skip)])\n"
        "def test_a(x):\n    assert f(x) > 0\n",
        "test skipped",
    ),
    Step(
        "helper hollowed out",
        "def check_it(x):\n    assert x > 0\n    assert x < 9\ndef test_a():\n    check_it(f())\n",
        "def check_it(x):\n    pass\ndef test_a():\n    x = f()\n    print(x)\n",
        "assertions removed",
    ),
]

PYTHON_KEPT = [
    Step("only added", PY, PY + "\n    def test_more():\n        assert add(2, 2) == 4\n"),
    Step("assertion added", PY, PY.replace("assert result == 6", "assert result == 6\n        assert result > 0")),
    Step("another expectation", PY, PY.replace("== 6", "== 7"), "a test expects something else"),
    Step("renamed", PY, PY.replace("test_total", "test_total_of_a_list")),
    Step("reordered", PY, "\n".join(reversed(textwrap.dedent(PY).split("\n\n")))),
    Step(
        "moved into a class",
        PY,
        textwrap.dedent(PY).replace(
            "def test_total():\n    result", "class TestTotal:\n  def test_total(self):\n    result"
        ),
    ),
    Step(
        "assertions merged by and",
        PY,
        PY.replace("assert add(1, 2) == 3\n        assert add(0, 0) == 0", "assert add(1, 2) == 3 and add(0, 0) == 0"),
    ),
    Step(
        "assertions merged in a tuple",
        PY,
        PY.replace("assert add(1, 2) == 3\n        assert add(0, 0) == 0", "assert (add(1, 2), add(0, 0)) == (3, 0)"),
    ),
    Step(
        "assertions in a loop",
        PY,
        PY.replace(
            "assert add(1, 2) == 3\n        assert add(0, 0) == 0",
            "for a, b, c in [(1, 2, 3), (0, 0, 0)]:\n            assert add(a, b) == c",
        ),
    ),
    Step(
        "assertions as rows",
        PY,
        PY.replace(
            "    def test_add():\n        assert add(1, 2) == 3\n        assert add(0, 0) == 0",
            "    @pytest.mark.parametrize('a,b,c', [(1, 2, 3), (0, 0, 0)])\n"
            "    def test_add(a, b, c):\n        assert add(a, b) == c",
        ),
    ),
    Step(
        "several tests became one with rows",
        "def test_a():\n    assert add(1, 2) == 3\ndef test_b():\n"
        "    assert add(2, 3) == 5\ndef test_c():\n    assert add(0, 0) == 0\n",
        "@pytest.mark.parametrize('a,b,c', [(1, 2, 3), (2, 3, 5), (0, 0, 0)])\n"
        "def test_add(a, b, c):\n    assert add(a, b) == c\n",
    ),
    Step(
        "split in two",
        "def test_a():\n    r = load('x')\n    assert r.name == 'x'\n"
        "    assert r.size == 1\n    assert r.close() is None\n",
        "def test_a():\n    r = load('x')\n    assert r.name == 'x'\n    assert r.size == 1\n"
        "def test_close():\n    assert load('x').close() is None\n",
    ),
    Step(
        "pytest.warns instead of three looks at the warning",
        "def test_a():\n    r = run()\n    assert r.exit_code == 1\n    assert isinstance(r.exception, UserWarning)\n"
        "    assert 'twice' in str(r.exception)\n",
        "def test_a():\n    with pytest.warns(UserWarning, match='twice'):\n        run()\n",
    ),
    Step(
        "long literals became rows",
        "def test_a():\n    assert words('') == ['a', 'b', 'c']\n    assert words('x') == []\n",
        "@pytest.mark.parametrize('a,b', [('', ['a', 'b', 'c']), ('x', [])])\n"
        "def test_a(a, b):\n    assert words(a) == b\n",
    ),
    Step(
        "helper drawn out",
        "def test_a():\n    u = make()\n    assert u.name == 'x'\n    assert u.age == 3\n"
        "def test_b():\n    u = load()\n    assert u.name == 'x'\n    assert u.age == 3\n",
        "def check(u):\n    assert u.name == 'x'\n    assert u.age == 3\n"
        "def test_a():\n    check(make())\ndef test_b():\n    check(load())\n",
    ),
    Step(
        "unittest to pytest",
        "class T(TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 1)\n",
        "def test_a():\n    assert f(1) == 1\n",
    ),
    Step("skip taken away", PY.replace("    def test_total", "    @pytest.mark.skip\n    def test_total"), PY),
    Step("empty test removed", PY + "\n    def test_todo():\n        pass\n", PY),
    Step("an iterator's skip is no skip", PY, PY.replace("result = total([1, 2, 3])", "result = total(query.skip(1))")),
    Step(
        "text in strings",
        PY,
        PY.replace("        result", "        note = 'pytest.skip() @pytest.mark.skip'\n        result"),
    ),
    Step(
        "fixture instead of a local",
        PY,
        PY.replace(
            "def test_total():\n        result = total([1, 2, 3])",
            "def test_total(numbers):\n        result = total(numbers)",
        ),
    ),
    Step(
        "reraised in a try",
        PY,
        PY.replace(
            "        assert result == 6",
            "        try:\n            assert result == 6\n"
            "        except AssertionError:\n            print('no')\n            raise",
        ),
    ),
]


@pytest.mark.parametrize("step", PYTHON_CAUGHT, ids=lambda s: s.name)
def test_python_tests_that_check_less_go_back_to_the_agent(step: Step) -> None:
    judgement = judge({"tests/test_a.py": step.before}, {"tests/test_a.py": step.after})
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR), judgement
    assert step.says in judgement.reason
    assert judgement.evidence[0]["file"] == "tests/test_a.py"


@pytest.mark.parametrize("step", PYTHON_KEPT, ids=lambda s: s.name)
def test_honest_changes_of_python_tests_pass(step: Step) -> None:
    judgement = judge({"tests/test_a.py": step.before}, {"tests/test_a.py": step.after})
    kept(judgement, step)


JS = """
    import { add } from "../src/add";
    describe("add", () => {
      it("adds", () => {
        expect(add(1, 2)).toBe(3);
        expect(add(0, 0)).toBe(0);
      });
      it("is 'commutative'", async () => {
        expect(await add(1, 2)).toBe(await add(2, 1));
      });
    });
    """

JS_CAUGHT = [
    Step("removed", JS, JS.split('      it("is')[0] + "    });\n", "test removed"),
    Step(
        "commented out",
        JS,
        JS.replace('      it("adds"', '      /* it("adds"').replace("      });\n      it", "      }); */\n      it", 1),
        "test commented out",
    ),
    Step(
        "line comments",
        JS,
        "\n".join("// " + part if 3 <= n <= 6 else part for n, part in enumerate(JS.split("\n"))),
        "test commented out",
    ),
    Step("it.skip", JS, JS.replace('it("adds"', 'it.skip("adds"'), "test skipped"),
    Step("xit", JS, JS.replace('it("adds"', 'xit("adds"'), "test skipped"),
    Step("describe.skip", JS, JS.replace("describe(", "describe.skip("), "test skipped"),
    Step("xdescribe", JS, JS.replace("describe(", "xdescribe("), "test skipped"),
    Step("only", JS, JS.replace('it("adds"', 'it.only("adds"'), "only some tests"),
    Step("fit", JS, JS.replace('it("adds"', 'fit("adds"'), "only some tests"),
    Step(
        "todo",
        JS,
        JS.replace(
            'it("adds", () => {\n        expect(add(1, 2)).toBe(3);\n        expect(add(0, 0)).toBe(0);\n      });',
            'it.todo("adds");',
        ),
        "test skipped",
    ),
    Step(
        "this.skip()",
        JS,
        JS.replace("        expect(add(1, 2)).toBe(3);", "        this.skip();\n        expect(add(1, 2)).toBe(3);"),
        "test skipped",
    ),
    Step(
        "emptied", JS, JS.replace("expect(add(1, 2)).toBe(3);\n        expect(add(0, 0)).toBe(0);", ""), "test emptied"
    ),
    Step("assertion removed", JS, JS.replace("        expect(add(0, 0)).toBe(0);\n", ""), "assertions removed"),
    Step(
        "assertion commented out",
        JS,
        JS.replace("        expect(add(0, 0))", "        // expect(add(0, 0))"),
        "assertions removed",
    ),
    Step(
        "assertion in a string",
        JS,
        JS.replace("expect(add(0, 0)).toBe(0);", "'expect(add(0, 0)).toBe(0);';"),
        "assertions removed",
    ),
    Step(
        "trivial assertion",
        JS,
        JS.replace("expect(add(0, 0)).toBe(0)", "expect(true).toBe(true)"),
        "assertions removed",
    ),
    Step(
        "rows dropped",
        "it.each([[1, 2], [3, 4]])('adds', (a, b) => { expect(f(a)).toBe(b); });",
        "it.each([[1, 2]])('adds', (a, b) => { expect(f(a)).toBe(b); });",
        "rows removed",
    ),
]

JS_KEPT = [
    Step("only added", JS, JS + '\ntest("more", () => { expect(1 + add(1, 1)).toBe(3); });\n'),
    Step("renamed", JS, JS.replace('it("adds"', 'it("adds two numbers"')),
    Step("another describe", JS, JS.replace('describe("add"', 'describe("addition"')),
    Step(
        "skip in a string",
        JS,
        JS.replace(
            "        expect(add(1, 2)).toBe(3);",
            '        const s = "it.skip(\'x\')"; // it.skip("y")\n        expect(add(1, 2)).toBe(3);',
        ),
    ),
    Step(
        "regular expression",
        JS,
        JS.replace(
            "        expect(add(1, 2)).toBe(3);",
            "        const r = /it.skip(\"'/; expect(r).toBeTruthy();\n        expect(add(1, 2)).toBe(3);",
        ),
    ),
    Step(
        "template",
        JS,
        JS.replace(
            "        expect(add(1, 2)).toBe(3);",
            "        const s = `a ${add(1, 2)} it.skip('x', { ${'}'}`;\n        expect(add(1, 2)).toBe(3);",
        ),
    ),
    Step("it to test", JS, JS.replace('      it("', '      test("')),
    Step(
        "merged into a whole comparison",
        "it('x', () => { const u = f(); expect(u.a).toBe(1); expect(u.b).toBe(2); });",
        "it('x', () => { const u = f(); expect(u).toEqual({ a: 1, b: 2 }); });",
    ),
    Step(
        "several became rows",
        "it('a', () => { expect(f(1)).toBe(1); });\nit('b', () => { expect(f(2)).toBe(4); });",
        "it.each([[1, 1], [2, 4]])('%i', (a, b) => { expect(f(a)).toBe(b); });",
    ),
    Step(
        "unrelated test function",
        "import x from 'y';\nit('a', () => { expect(/a/.test('a')).toBe(true); });",
        "import x from 'z';\nit('a', () => { expect(/a/.test('a')).toBe(true); });",
    ),
]


@pytest.mark.parametrize("step", JS_CAUGHT, ids=lambda s: s.name)
def test_javascript_tests_that_check_less_go_back_to_the_agent(step: Step) -> None:
    judgement = judge({"src/add.test.ts": step.before}, {"src/add.test.ts": step.after})
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR), judgement
    assert step.says in judgement.reason


@pytest.mark.parametrize("step", JS_KEPT, ids=lambda s: s.name)
def test_honest_changes_of_javascript_tests_pass(step: Step) -> None:
    judgement = judge({"src/add.test.ts": step.before}, {"src/add.test.ts": step.after})
    kept(judgement, step)


GO = """
    package add

    import "testing"

    func TestAdd(t *testing.T) {
        if Add(1, 2) != 3 {
            t.Errorf("got %d", Add(1, 2)) // TestAdd
        }
        if Add(0, 0) != 0 {
            t.Fatal(`no { func TestNone(t *testing.T) {}`)
        }
    }

    func TestTotal(t *testing.T) {
        tests := []struct{ name string; in []int; want int }{
            {"none", nil, 0},
            {"some", []int{1, 2}, 3},
        }
        for _, tc := range tests {
            t.Run(tc.name, func(t *testing.T) {
                if Total(tc.in) != tc.want { t.Error("no") }
            })
        }
    }
    """

GO = textwrap.dedent(GO)

GO_CAUGHT = [
    Step("removed", GO, GO.split("func TestTotal")[0], "test removed"),
    Step(
        "renamed so that go takes it no more",
        GO,
        GO.replace("func TestTotal", "func testTotal"),
        "no test runner takes it",
    ),
    Step("skip", GO, GO.replace("    if Add(1, 2) != 3", '    t.Skip("later")\n    if Add(1, 2) != 3'), "test skipped"),
    Step("emptied", GO, GO.split("func TestTotal")[0] + "func TestTotal(t *testing.T) {}\n", "test emptied"),
    Step(
        "assertion removed",
        GO,
        GO.replace("        t.Fatal(`no { func TestNone(t *testing.T) {}`)", ""),
        "assertions removed",
    ),
    Step("row removed", GO, GO.replace('        {"some", []int{1, 2}, 3},\n', ""), "rows removed"),
    Step("build tag", GO, "//go:build never\n\n" + GO, "test skipped"),
]

GO_KEPT = [
    Step(
        "helper drawn out",
        "func TestA(t *testing.T) {\n  x := f()\n  if x == nil { t.Fatal(1) }\n  if x.y { t.Error(2) }\n}\n",
        "func check(x *X, t *testing.T) {\n  if x == nil { t.Fatal(1) }\n  if x.y { t.Error(2) }\n}\n"
        "func TestA(t *testing.T) {\n  check(f(), t)\n}\n",
    ),
    Step("only added", GO, GO + "\nfunc TestMore(t *testing.T) { if Add(2, 2) != 4 { t.Fail() } }\n"),
    Step("renamed", GO, GO.replace("TestAdd(", "TestAddition(")),
    Step(
        "row added",
        GO,
        GO.replace('        {"none", nil, 0},\n', '        {"none", nil, 0},\n        {"one", []int{1}, 1},\n'),
    ),
    Step("skip in a comment", GO, GO.replace("    if Add(1, 2) != 3", '    // t.Skip("later")\n    if Add(1, 2) != 3')),
]


@pytest.mark.parametrize("step", GO_CAUGHT, ids=lambda s: s.name)
def test_go_tests_that_check_less_go_back_to_the_agent(step: Step) -> None:
    judgement = judge({"add_test.go": step.before}, {"add_test.go": step.after})
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR), judgement
    assert step.says in judgement.reason


@pytest.mark.parametrize("step", GO_KEPT, ids=lambda s: s.name)
def test_honest_changes_of_go_tests_pass(step: Step) -> None:
    judgement = judge({"add_test.go": step.before}, {"add_test.go": step.after})
    kept(judgement, step)


RUST = """
    pub fn add<'a>(x: &'a i32, y: i32) -> i32 { let _q = '"'; x + y }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn adds() {
            assert_eq!(add(&1, 2), 3);
            assert!(add(&0, 0) == 0, r#"no " } "#);
        }

        #[tokio::test]
        async fn waits() {
            assert_eq!(add(&1, 1), 2);
        }
    }
    """

RUST_CAUGHT = [
    Step("ignored", RUST, RUST.replace("        #[test]\n", "        #[test]\n        #[ignore]\n"), "test skipped"),
    Step("no test any more", RUST, RUST.replace("        #[tokio::test]\n", ""), "no test runner takes it"),
    Step("assertion removed", RUST, RUST.replace("            assert_eq!(add(&1, 2), 3);\n", ""), "assertions removed"),
    Step("emptied", RUST, RUST.replace("assert_eq!(add(&1, 1), 2);", ""), "test emptied"),
]


@pytest.mark.parametrize("step", RUST_CAUGHT, ids=lambda s: s.name)
def test_rust_tests_that_check_less_go_back_to_the_agent(step: Step) -> None:
    judgement = judge({"src/lib.rs": step.before}, {"src/lib.rs": step.after})
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR), judgement
    assert step.says in judgement.reason


def test_all_rust_tests_of_a_source_file_gone_are_told_one_by_one() -> None:
    judgement = judge({"src/lib.rs": RUST}, {"src/lib.rs": RUST.split("    #[cfg(test)]")[0]})
    assert judgement.reason == "test removed (×2)"
    assert judge({"src/big.rs": b"// x\n" * 200_000}, {"src/big.rs": b"// y\n" * 200_000}).verdict is Verdict.PASS


def test_changed_rust_code_beside_its_tests_passes() -> None:
    assert judge({"src/lib.rs": RUST}, {"src/lib.rs": RUST.replace("x + y", "y + x")}).verdict is Verdict.PASS


def test_a_deleted_test_file_goes_back_with_the_names_of_its_tests() -> None:
    judgement = judge({"tests/test_a.py": PY, "app.py": "x = 1\n"}, {"app.py": "x = 2\n"})
    assert judgement.route is Route.REPAIR
    assert judgement.evidence[0] == {
        "title": "test file deleted: 2 tests",
        "file": "tests/test_a.py",
        "excerpt": "test_add, test_total",
    }


@pytest.mark.parametrize("path", ["src/FooTest.java", "spec/foo_spec.rb", "t/basic.t", "tests/FooTests.cs"])
def test_a_deleted_test_file_counts_in_languages_that_are_told_by_name_only(path: str) -> None:
    judgement = judge({path: "@Test void a() {}\n"}, {})
    assert judgement.route is Route.REPAIR
    assert "test file deleted" in judgement.reason


def test_skips_and_fewer_tests_count_in_languages_that_are_told_by_name_only() -> None:
    before = "class FooTest {\n  @Test void a() {}\n  @Test void b() {}\n}\n"
    assert (
        judge(
            {"FooTest.java": before}, {"FooTest.java": before.replace("@Test void b", "@Disabled @Test void b")}
        ).route
        is Route.REPAIR
    )
    fewer = judge({"FooTest.java": before}, {"FooTest.java": before.replace("  @Test void b() {}\n", "")})
    assert fewer.evidence[0]["title"] == "fewer tests than before: 2 → 1"


def test_a_test_moved_to_another_file_is_no_deletion() -> None:
    moved = judge({"tests/test_a.py": PY}, {"tests/unit/test_sums.py": PY})
    assert moved.verdict is Verdict.PASS, moved
    split = textwrap.dedent(PY).split("def test_total")
    judgement = judge(
        {"tests/test_a.py": PY}, {"tests/test_a.py": split[0], "tests/test_b.py": "def test_total" + split[1]}
    )
    assert judgement.verdict is Verdict.PASS, judgement


def test_a_test_that_is_weakened_while_it_moves_is_caught() -> None:
    judgement = judge({"tests/test_a.py": PY}, {"tests/test_b.py": PY.replace("        assert add(0, 0) == 0\n", "")})
    assert judgement.route is Route.REPAIR, judgement


def test_a_renamed_test_file_passes_but_not_under_a_name_that_no_runner_takes() -> None:
    kept = judge({"tests/test_a.py": PY}, {"tests/test_b.py": PY}, renames={"tests/test_b.py": "tests/test_a.py"})
    assert kept.verdict is Verdict.PASS, kept
    lost = judge({"tests/test_a.py": PY}, {"tests/old_a.py": PY}, renames={"tests/old_a.py": "tests/test_a.py"})
    assert lost.route is Route.REPAIR
    assert "renamed to tests/old_a.py" in lost.reason


def test_a_test_of_the_same_name_elsewhere_that_tests_something_else_is_no_move() -> None:
    before = "def test_a():\n    assert pay(5, currency='EUR') == 'paid'\n"
    other = "def test_a():\n    assert greet(name='you') == 'hello'\n"
    assert judge({"tests/test_a.py": before}, {"tests/test_b.py": other}).route is Route.REPAIR


def test_a_longer_test_stands_in_for_no_more_tests_than_it_has_assertions() -> None:
    before = "".join(f"def test_{n}():\n    assert add({n}, 1) == {n + 1}\n" for n in range(3))
    one_row = "@pytest.mark.parametrize('a,b', [(0, 1)])\ndef test_add(a, b):\n    assert add(a, 1) == b\n"
    judgement = judge({"tests/test_a.py": before}, {"tests/test_a.py": one_row})
    assert len(judgement.evidence) == 2, judgement


def test_a_test_file_replaced_by_a_link_has_lost_its_tests() -> None:
    judgement = judge({"tests/test_a.py": PY}, {"tests/test_a.py": "../elsewhere"}, links=("tests/test_a.py",))
    assert "test removed" in judgement.reason


def test_another_test_of_the_same_size_is_no_replacement() -> None:
    before = "def test_a():\n    assert pay(5, 'EUR') == 'paid'\n"
    after = "def test_b():\n    assert greet(5, 'EUR') == 'hello'\n"
    assert judge({"tests/test_a.py": before}, {"tests/test_a.py": after}).route is Route.REPAIR


def test_tests_that_go_with_what_they_test_pass_when_the_story_asks_for_the_removal() -> None:
    before = {
        "app/legacy.py": "def legacy(): ...\n",
        "tests/test_legacy.py": "from app.legacy import legacy\ndef test_l():\n    assert legacy() is None\n",
    }
    judgement = judge(before, {}, goal="Remove the legacy module")
    assert (judgement.verdict, judgement.route) == (Verdict.CONCERNS, Route.PROCEED), judgement
    assert judge(before, {}, goal="Add a button").route is Route.REPAIR
    assert (
        judge(
            {**before, "app/other.py": "x = 1\n"},
            before | {"tests/test_legacy.py": ""},
            goal="Remove the legacy module",
        ).route
        is Route.REPAIR
    )


def test_one_test_that_goes_with_its_function_passes_when_the_story_asks_for_it() -> None:
    before = {"app.py": "def add(): ...\ndef total(): ...\n", "tests/test_a.py": PY}
    after = {"app.py": "def add(): ...\n", "tests/test_a.py": textwrap.dedent(PY).split("def test_total")[0]}
    assert judge(before, after, goal="Drop total()").verdict is Verdict.CONCERNS
    assert judge(before, after, goal="Make add() faster").route is Route.REPAIR


def test_new_tests_that_prove_nothing_are_noted() -> None:
    after = PY + (
        "\n    @pytest.mark.skip\n    def test_new():\n"
        "        assert add(9, 9) == 18\n    def test_hollow():\n        pass\n"
    )
    judgement = judge({"tests/test_a.py": PY}, {"tests/test_a.py": after})
    assert (judgement.verdict, judgement.route) == (Verdict.CONCERNS, Route.PROCEED)
    assert [item["title"].split(":")[0] for item in judgement.evidence] == [
        "new test that is skipped",
        "new test without a body",
    ]


@pytest.mark.parametrize(
    ("path", "added"),
    [
        ("pytest.ini", "addopts = -k 'not slow'"),
        ("pyproject.toml", 'addopts = "--ignore=tests/slow"'),
        ("tests/conftest.py", "collect_ignore = ['test_a.py']"),
        ("conftest.py", "def pytest_collection_modifyitems(items): items.clear()"),
        ("jest.config.js", "testPathIgnorePatterns: ['slow'],"),
        ("vitest.config.ts", "testMatch: ['a'],"),
    ],
)
def test_settings_that_may_deselect_tests_are_noted(path: str, added: str) -> None:
    judgement = judge({path: "\n"}, {path: f"\n{added}\n"})
    assert (judgement.verdict, judgement.route) == (Verdict.CONCERNS, Route.PROCEED), judgement
    assert judgement.evidence[0]["excerpt"] == added
    assert judgement.evidence[0]["line"] == 2


def test_a_check_that_was_made_to_pass_always_goes_back() -> None:
    before = '{"scripts": {"test": "vitest run", "dev": "vite"}}'
    for script in ("exit 0", "vitest run || true", "echo ok", "true", "vitest run --passWithNoTests"):
        after = before.replace("vitest run", script)
        judgement = judge({"package.json": before}, {"package.json": after}, commands=("npm test",))
        assert judgement.route is Route.REPAIR, script
    other = judge({"package.json": before}, {"package.json": before.replace("vitest run", "vitest run --coverage")})
    assert (other.verdict, other.route) == (Verdict.CONCERNS, Route.PROCEED)
    assert (
        judge({"package.json": before}, {"package.json": before.replace('"vite"', '"vite --open"')}).verdict
        is Verdict.PASS
    )


def test_the_file_that_a_configured_command_runs_is_watched() -> None:
    before = "#!/bin/sh\npython -m unittest\n"
    noted = judge({"check.sh": before}, {"check.sh": before + "ruff check\n"}, commands=("sh ./check.sh",))
    assert (noted.verdict, noted.route) == (Verdict.CONCERNS, Route.PROCEED)
    for green in (before + "exit 0\n", "#!/bin/sh\nset +e\npython -m unittest\n", "#!/bin/sh\ntrue\n", ""):
        assert judge({"check.sh": before}, {"check.sh": green}, commands=("sh ./check.sh",)).route is Route.REPAIR, (
            green
        )


def test_work_without_tests_passes() -> None:
    judgement = judge({"app.py": "x = 1\n"}, {"app.py": "x = 2\n", "README.md": "it.skip('x')\n"})
    assert (judgement.verdict, judgement.reason) == (Verdict.PASS, "no test was changed")


@pytest.mark.parametrize(
    "source",
    [
        b"\xff\xfe\x00\x01 def test_a(): \x80",
        b"def test_a(:\n",
        b"# coding: nonsense\ndef test_a(): pass\n",
        b"def test_a():\n" + b"  (" * 5000,
        b"x = " + b"-" * 100_000 + b"1",
        b"def test_a(): assert " + b"(" * 500 + b")" * 500,
        b"\0",
    ],
    ids=["bytes", "syntax", "coding", "brackets", "minus", "nested", "nul"],
)
def test_a_python_test_file_that_cannot_be_read_is_a_note_when_new_and_goes_back_when_it_held_tests(
    source: bytes,
) -> None:
    fresh = judge({}, {"tests/test_a.py": source})
    assert (fresh.verdict, fresh.route) == (Verdict.CONCERNS, Route.PROCEED), fresh
    assert judge({"tests/test_a.py": PY}, {"tests/test_a.py": source}).route is Route.REPAIR


@pytest.mark.parametrize("path", ["tests/test_a.py", "a.test.ts", "a_test.go", "tests/a.rs"])
def test_a_huge_test_file_is_not_read_and_says_so(path: str) -> None:
    began = time.monotonic()
    judgement = judge({}, {path: b"x = 1\n" * 900_000})
    assert "too large" in judgement.evidence[0]["title"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "(",
        "`${",
        "/",
        "'",
        '"',
        "it('",
        "it('a', () => {",
        "describe('a', () => {",
        "#[test]\n",
        "/*",
        "\\",
        "func TestA(",
        "x\n",
    ],
)
def test_hostile_source_is_read_in_a_moment(unit: str) -> None:
    source = (unit * (20_000 // len(unit))).encode()
    for path in ("a.test.js", "a.test.tsx", "a_test.go", "tests/a.rs", "test_a.py"):
        began = time.thread_time()  # of the processor: other tests run beside this one
        read_suite(path, source)
        assert time.thread_time() - began < 1.5 * parse.LONGEST_S, (path, unit)


@pytest.mark.parametrize("unit", ["x\n", "it('a', () => {", "def test_a():\n    assert f(1) == 2\n"])
def test_what_takes_too_long_is_given_up(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "LONGEST_S", 0.02)
    source = (unit * (200_000 // len(unit))).encode()
    for path in ("a.test.js", "a_test.go", "tests/a.rs", "test_a.py"):
        began = time.thread_time()
        assert "too" in read_suite(path, source).problem, (path, unit)
        assert time.thread_time() - began < parse.LONGEST_S + 1, (path, unit)
    monkeypatch.undo()
    assert not read_suite("test_a.py", b"def test_a():\n    assert f(1) == 2\n").problem


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=400)
    | st.lists(
        st.sampled_from(
            [
                "it(",
                "'a'",
                ", () => {",
                "}",
                ")",
                "`",
                "${",
                "/",
                "expect(x).toBe(1)",
                "//",
                "/*",
                "*/",
                "\n",
                "describe",
                ".each",
                "[",
                "]",
                "#[test]",
                "fn a()",
                "func TestA(t *testing.T)",
                "{",
                '"',
                'r#"',
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_no_source_crashes_a_reader(source: str) -> None:
    for path in ("test_a.py", "a.test.ts", "a.test.tsx", "a.test.js", "a_test.go", "tests/a.rs"):
        read_suite(path, source.encode("utf-8", "surrogatepass"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True), st.data())
def test_every_removed_test_is_told_and_no_kept_one(numbers: list[int], data: st.DataObject) -> None:
    verbs = ["load", "save", "parse", "merge", "split", "count", "rotate", "encode", "escape", "render"]

    def source(kept: list[int]) -> str:
        return "\n".join(f"def test_{n}():\n    assert {verbs[n]}_{n}({n}) == '{verbs[n]}'\n" for n in kept)

    removed = data.draw(st.lists(st.sampled_from(numbers), unique=True))
    kept = [number for number in numbers if number not in removed]
    judgement = judge({"tests/test_a.py": source(numbers)}, {"tests/test_a.py": source(kept) or "\n"})
    told = {item["title"] for item in judgement.evidence}
    assert told == {f"test removed: test_{number}" for number in removed}
