"""The ways in which one test checks less, each in every language, beside what looks alike and checks as much."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.gates.syntax.strength import OPS, Check, Level, aspect_of, weaker
from auto_dev.model import Route
from tests.unit.test_gates_tampering import judge

pytestmark = pytest.mark.unit

PY = "import pytest\nfrom app import load, rows, send\n\n\ndef test_one(tmp_path):\n{}\n"
JS = "import {{ load, rows, send }} from './app';\ntest('one', async () => {{\n{}\n}});\n"
GO = "package a\n\nfunc TestOne(t *testing.T) {{\n{}\n}}\n"
RS = "#[test]\nfn one() {{\n{}\n}}\n"
PATHS = {
    "py": ("tests/test_one.py", PY),
    "js": ("src/one.test.ts", JS),
    "go": ("a_test.go", GO),
    "rs": ("tests/one.rs", RS),
}


def route(language: str, before: str, after: str) -> Route:
    path, frame = PATHS[language]
    indent = "    " if language in ("py", "rs") else "\t"
    old, new = (frame.format("\n".join(indent + line for line in text.split("\n"))) for text in (before, after))
    return judge({path: old}, {path: new}).route


WEAKER = [
    # another condition suffices
    ("py", "assert load(1) == 2", "assert load(1) == 2 or load(1) is None"),
    ("py", "assert load(1)", "assert load(1) or True"),
    ("py", "assert not load(1)", "assert not load(1) or len(rows()) == 3"),
    ("js", "expect(load(1)).toBe(false);", "expect(!load(1) || rows().length === 3).toBe(true);"),
    ("js", "assert.equal(load(1), false);", "assert.ok(!load(1) || rows().length === 3);"),
    ("go", "if Load(1) {\n\tt.Fatal(1)\n}", "if Load(1) && Rows() != 3 {\n\tt.Fatal(1)\n}"),
    ("rs", "assert!(load(1));", "assert!(load(1) || rows().len() == 3);"),
    # a loop over a part
    ("py", "for row in rows():\n    assert row.width == 3", "for row in rows()[:0]:\n    assert row.width == 3"),
    ("py", "for row in rows():\n    assert row.width == 3", "for row in [r for r in rows() if r.new]:\n    assert row.width == 3"),
    ("py", "for row in rows():\n    assert row.width == 3", "for row in []:\n    assert row.width == 3"),
    ("js", "for (const row of rows()) expect(row.width).toBe(3);", "for (const row of rows().slice(9)) expect(row.width).toBe(3);"),
    ("js", "rows().forEach((row) => { expect(row.width).toBe(3); });", "rows().filter((r) => r.x).forEach((row) => { expect(row.width).toBe(3); });"),
    ("js", "for (const row of rows()) expect(row.width).toBe(3);", "const some = rows().slice(9);\nfor (const row of some) expect(row.width).toBe(3);"),
    ("go", "for _, r := range Rows() {\n\tassert.Equal(t, 3, r.Width)\n}", "for _, r := range Rows()[:0] {\n\tassert.Equal(t, 3, r.Width)\n}"),
    ("rs", "for row in rows() {\n    assert_eq!(row.width, 3);\n}", "for row in rows().into_iter().skip(9) {\n    assert_eq!(row.width, 3);\n}"),
    # a failure is swallowed
    ("py", "load(1)\nassert rows() == 3", "with contextlib.suppress(ValueError):\n    load(1)\nassert rows() == 3"),
    ("py", "load(1)", "try:\n    load(1)\nexcept KeyError:\n    pass"),
    ("py", "assert load(1) == 2", "try:\n    assert load(1) == 2\nexcept AssertionError:\n    print('no')"),
    ("js", "expect(load(1)).toBe(2);", "try { expect(load(1)).toBe(2); } catch {}"),
    ("js", "await send(1);\nexpect(load(1)).toBe(2);", "await send(1).catch(() => {});\nexpect(load(1)).toBe(2);"),
    ("js", "await expect(send(1)).resolves.toBe(2);", "expect(send(1)).resolves.toBe(2);"),
    ("go", "Send(1)\nassert.Equal(t, 2, Load(1))", "defer func() { recover() }()\nSend(1)\nassert.Equal(t, 2, Load(1))"),
    ("go", "assert.Equal(t, 2, Load(1))", "t = &testing.T{}\nassert.Equal(t, 2, Load(1))"),
    # a weaker matcher
    ("py", "sent = Mock()\nsend(sent)\nsent.assert_called_once_with(1)", "sent = Mock()\nsend(sent)\nsent.assert_called()"),
    ("py", "with pytest.raises(ValueError, match='odd'):\n    load(1)", "with pytest.raises(Exception):\n    load(1)"),
    ("py", "assert len(rows()) == 3", "assert len(rows()) >= 0"),
    ("js", "expect(sent).toHaveBeenCalledWith('b');", "expect(sent).toHaveBeenCalled();"),
    ("js", "expect(sent).toHaveBeenCalledWith('b');", "expect(sent.mock.calls.length).toBeGreaterThanOrEqual(0);"),
    ("js", "expect(sent).toHaveBeenCalledWith('b');", "expect(sent.mock.calls.length).toBe(1);"),
    ("js", "expect(load(1)).toEqual({ a: 1, b: 2 });", "expect(load(1)).toEqual(expect.anything());"),
    ("js", "expect(() => load(1)).toThrow('odd');", "expect(() => load(1)).toThrow();"),
    ("go", "assert.EqualError(t, err, \"odd\")", "assert.Error(t, err)"),
    ("go", "assert.Equal(t, 2, Load(1))", "assert.NotNil(t, Load(1))"),
    ("rs", "assert_eq!(load(1), 2);", "assert!(load(1) > 0);"),
    # what is under test is mocked
    ("py", "assert load(1) == 2", "with patch('app.load', return_value=2) as load:\n    assert load(1) == 2"),
    ("js", "expect(load(1)).toBe(2);", "const load = vi.fn().mockReturnValue(2);\nexpect(load(1)).toBe(2);"),
    ("py", "assert load(1) == 2", "load = Mock(return_value=2)\nassert load(1) == 2"),
    ("py", "assert load(1) == 2", "load = lambda n: 2\nassert load(1) == 2"),
    # it never runs
    ("py", "assert load(1) == 2", "return\nassert load(1) == 2"),
    ("js", "expect(load(1)).toBe(2);", "return;\nexpect(load(1)).toBe(2);"),
    ("go", "assert.Equal(t, 2, Load(1))", "if os.Getenv(\"FULL\") == \"\" {\n\treturn\n}\nassert.Equal(t, 2, Load(1))"),
    ("js", "expect(load(1)).toBe(2);", "setTimeout(() => { expect(load(1)).toBe(2); }, 10);"),
    ("rs", "assert_eq!(load(1), 2);", "if false {\n    assert_eq!(load(1), 2);\n}"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "before", "after"), WEAKER)
def test_a_test_that_checks_less_goes_back(language: str, before: str, after: str) -> None:
    assert route(language, before, after) is Route.REPAIR


AS_STRONG = [
    ("py", "assert load(1) == 2", "found = load(1)\nassert found == 2"),
    ("py", "assert load(1) == 2 or load(1) == 3", "assert load(1) in (2, 3)"),
    ("py", "for row in rows():\n    assert row.width == 3", "found = rows()\nfor line in found:\n    assert line.width == 3"),
    ("py", "for row in rows():\n    assert row.width == 3", "assert all(row.width == 3 for row in rows())"),
    ("py", "assert load(1) == 2", "try:\n    assert load(1) == 2\nfinally:\n    rows()"),
    ("py", "assert load(1) == 2", "with contextlib.suppress(FileNotFoundError):\n    os.remove('x')\nassert load(1) == 2"),
    ("py", "assert load(1) == 2", "try:\n    found = load(1)\nexcept KeyError as error:\n    pytest.fail(str(error))\nassert found == 2"),
    ("py", "with pytest.raises(ValueError):\n    load(1)", "with pytest.raises(ValueError, match='odd'):\n    load(1)"),
    ("py", "assert load(1) == 2", "with patch('app.clock', return_value=2):\n    assert load(1) == 2"),
    ("js", "expect(rows().length).toBe(3);", "expect(rows()).toHaveLength(3);"),
    ("js", "expect(sent).toHaveBeenCalledWith('b');", "expect(sent.mock.calls[0][0]).toBe('b');"),
    ("js", "expect(sent).toHaveBeenCalledWith('b');", "expect(sent).toHaveBeenCalledTimes(1);\nexpect(sent).toHaveBeenCalledWith('b');"),
    ("js", "expect(sent).toHaveBeenCalled();", "expect(sent).toHaveBeenCalledWith('b');"),
    ("js", "for (const row of rows()) expect(row.width).toBe(3);", "rows().forEach((row) => { expect(row.width).toBe(3); });"),
    ("js", "for (const row of rows()) expect(row.width).toBe(3);", "const all = rows().slice();\nfor (const row of all) expect(row.width).toBe(3);"),
    ("js", "const found = await load(1);\nexpect(found).toBe(2);", "await expect(load(1)).resolves.toBe(2);"),
    ("js", "expect(load(1)).toEqual({ a: 1 });", "const expected = { a: 1 };\nexpect(load(1)).toStrictEqual(expected);"),
    ("js", "expect(() => load(1)).toThrow('odd');", "expect(() => load(1)).toThrow(OddError);"),
    ("js", "expect(() => load(1)).toThrow('odd');", "expect(() => load(1)).toThrow(new OddError('odd'));"),
    ("js", "try { load(1); assert.fail('x'); } catch (e) { expect(e.message).toBe('odd'); }", "expect(() => load(1)).toThrow('odd');"),
    ("js", "expect(screen.getByText('a')).toBeTruthy();", "expect(screen.getByText('a')).toBeInTheDocument();"),
    ("js", "expect(screen.getByText('a')).toBeInTheDocument();", "expect(screen.getByRole('heading', { name: 'a' })).toBeInTheDocument();"),
    ("js", "expect(screen.getByText('a')).toBeInTheDocument();", "expect(await screen.findByText('a')).toBeVisible();"),
    ("js", "const one = load(1);\nexpect(one.id).toBe(1);\nexpect(one.name).toBe('a');", "expect(load(1)).toMatchObject({ id: 1, name: 'a' });"),
    ("js", "expect(load(1)).toBe(2);\nexpect(load(2)).toBe(4);", "for (const [given, wanted] of [[1, 2], [2, 4]]) expect(load(given)).toBe(wanted);"),
    ("js", "expect(load(1)).toBe(2);\nexpect(load(2)).toBe(4);", "const check = (given: number, wanted: number) => { expect(load(given)).toBe(wanted); };\ncheck(1, 2);\ncheck(2, 4);"),
    ("js", "expect(load(1)).toBe(2);\nexpect(load(2)).toBe(4);", "const check = async (given: number, wanted: number) => { expect(load(given)).toBe(wanted); };\nawait check(1, 2);\nawait check(2, 4);"),
    ("js", "expect(load(1)).toBe(2);\nexpect(load(2)).toBe(4);", "await Promise.all([[1, 2], [2, 4]].map(async ([given, wanted]) => { expect(load(given)).toBe(wanted); }));"),
    ("go", "if got := Load(1); got != 2 {\n\tt.Fatalf(\"%d\", got)\n}", "assert.Equal(t, 2, Load(1))"),
    ("go", "assert.Equal(t, 2, Load(1))", "got := Load(1)\nif got != 2 {\n\tt.Errorf(\"got %d\", got)\n}"),
    ("go", "assert.Equal(t, 2, Load(1))", "mockT := new(testing.T)\n_ = mockT\nassert.Equal(t, 2, Load(1))"),
    ("go", "assert.Panics(t, func() { Load(1) })", "defer func() {\n\tif r := recover(); r == nil {\n\t\tt.Fatal(\"no panic\")\n\t}\n}()\nLoad(1)"),
    ("go", "for _, r := range Rows() {\n\tassert.Equal(t, 3, r.Width)\n}", "for i := range Rows() {\n\tassert.Equal(t, 3, Rows()[i].Width)\n}"),
    ("rs", "assert_eq!(load(1), 2);", "let found = load(1);\nassert_eq!(2, found);"),
    ("rs", "for row in rows() {\n    assert_eq!(row.width, 3);\n}", "for row in rows().iter() {\n    assert_eq!(row.width, 3);\n}"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "before", "after"), AS_STRONG)
def test_a_test_that_checks_as_much_passes(language: str, before: str, after: str) -> None:
    assert route(language, before, after) is Route.PROCEED


VALUES = sorted(op for op in OPS if aspect_of(op) == "value" and op not in ("unknown", "type"))
OTHERS = [sorted(op for op in OPS if aspect_of(op) == aspect and op != "runs") for aspect in ("error", "calls")]


def check(op: str, *guards: str, choices: int = 1, high: int = 1) -> Check:
    return Check(op, "load(1)", "7", 1, op, guards=guards, choices=choices, high=high)


@given(st.sampled_from([VALUES, *OTHERS]).flatmap(lambda ops: st.tuples(*[st.sampled_from(ops)] * 3)))
def test_the_strength_of_assertions_is_an_order(ops: tuple[str, str, str]) -> None:
    one, two, three = map(check, ops)
    assert not weaker(one, one)
    assert not (weaker(one, two) and weaker(two, one))
    if weaker(one, two) and weaker(two, three):
        assert weaker(one, three)
    assert bool(weaker(one, two)) == (one.level > two.level)


@given(st.sampled_from(VALUES), st.sampled_from(["swallowed", "not awaited"]), st.integers(2, 4))
def test_what_keeps_an_assertion_from_counting_never_makes_it_stronger(op: str, guard: str, choices: int) -> None:
    old = check(op)
    if not old.counts:
        return
    assert weaker(old, check(op, guard))
    assert weaker(old, check(op, high=0))
    assert bool(weaker(old, check(op, choices=choices))) == (old.level > Level.DEFINED)
    assert not weaker(check(op, choices=choices), old)


PIECES = {
    "py": ["{v} = load({n})\n    assert {v} == {m}", "for {v} in rows({n}):\n        assert {v}.width == {m}", "assert load({n}) == {m}"],
    "js": ["const {v} = load({n});\n    expect({v}).toBe({m});", "for (const {v} of rows({n})) expect({v}.width).toBe({m});"],
    "go": ["{v} := Load({n})\n\tassert.Equal(t, {m}, {v})", "for _, {v} := range Rows({n}) {{\n\t\tassert.Equal(t, {m}, {v}.Width)\n\t}}"],
}  # fmt: skip
SOFT = {"py": (" == ", " != "), "js": (".toBe(", ".not.toBe("), "go": ("assert.Equal(", "assert.NotEqual(")}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(PIECES)), st.lists(st.integers(0, 2), min_size=1, max_size=4), st.data())
def test_names_and_layout_of_a_test_change_no_verdict(language: str, chosen: list[int], data: st.DataObject) -> None:
    def rendered() -> str:
        """The same test with other local names and blank lines."""
        names = data.draw(st.permutations(["alpha", "beta", "gamma", "delta"]))
        pieces = [
            PIECES[language][which % len(PIECES[language])].format(v=names[at], n=11 * at + 3, m=70 + at)
            for at, which in enumerate(chosen)
        ]
        gap = data.draw(st.sampled_from(["\n", "\n\n", "\n\n\n"]))
        return gap.join(("\t" if language == "go" else "    ") + piece for piece in pieces)

    path, frame = PATHS[language]
    before, after = frame.format(rendered()), frame.format(rendered())
    assert judge({path: before}, {path: after}).route is Route.PROCEED
    hard, soft = SOFT[language]
    at = data.draw(st.integers(0, after.count(hard) - 1))
    parts = after.split(hard)
    weak = hard.join(parts[: at + 1]) + soft + hard.join(parts[at + 1 :])
    assert judge({path: before}, {path: weak}).route is Route.REPAIR
    assert judge({path: weak}, {path: after}).route is Route.PROCEED
