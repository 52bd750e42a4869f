"""What a failing test said is found in the output of its runner, with its place; whatever the output is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.gates.base import CommandOutcome
from auto_dev.gates.commands import compare
from auto_dev.gates.excerpts import LIMIT, excerpts, place_of

pytestmark = pytest.mark.unit

PYTEST = """\
=================================== FAILURES ===================================
_______________________________ TestX.test_a[x y] ______________________________
    def test_a(self, v):
>       assert 3 == len(v)
E       AssertionError: assert 3 == 1

/box/p/tests/test_one.py:7: AssertionError
___________________________________ test_b ____________________________________
E       assert {'a': 1} == {'a': 2}

tests/test_two.py:2: AssertionError
___________________________________ test_b ____________________________________
E       KeyError: 'zip'

tests/test_three.py:9: KeyError
_________________________ ERROR at setup of test_c ____________________________
E   OSError: no

tests/test_one.py:11: OSError
=========================== short test summary info ============================
FAILED tests/test_one.py::TestX::test_a[x y] - AssertionError
"""
UNITTEST = """\
======================================================================
FAIL: test_x (t.test_u.A.test_x)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/box/p/t/test_u.py", line 3, in test_x
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 2 tests in 0.001s
"""
GO = "--- FAIL: TestSum (0.00s)\n    sum_test.go:12: got 3, want 4\nFAIL\nFAIL\texample.com/sum\t0.002s\n"
CARGO = """\
---- money::tests::rounds stdout ----
thread 'money::tests::rounds' panicked at src/money.rs:31:9:
assertion `left == right` failed

failures:
    money::tests::rounds
"""
JEST = """\
 FAIL  src/cart.test.js
  ● cart › adds

    expect(received).toBe(expected)
      at Object.<anonymous> (src/cart.test.js:5:19)

Test Suites: 1 failed, 1 total
"""
LINT = "Found it:\n./app/a.py:12:5: E501 Line too long\n"


@pytest.mark.parametrize(
    ("output", "name", "words", "place"),
    [
        (PYTEST, "tests/test_one.py::TestX::test_a[x y]", "assert 3 == 1", ("tests/test_one.py", 7)),
        (PYTEST, "tests/test_two.py::test_b", "{'a': 1}", ("tests/test_two.py", 2)),
        (PYTEST, "tests/test_three.py::test_b", "KeyError: 'zip'", ("tests/test_three.py", 9)),
        (PYTEST, "tests/test_one.py::test_c", "OSError: no", ("tests/test_one.py", 11)),
        (UNITTEST, "test_x (t.test_u.A.test_x)", "1 != 2", ("t/test_u.py", 3)),
        (GO, "example.com/sum.TestSum", "got 3, want 4", ("sum_test.go", 12)),
        (CARGO, "money::tests::rounds", "left == right", ("src/money.rs", 31)),
        (JEST, "src/cart.test.js > cart › adds", "toBe(expected)", ("src/cart.test.js", 5)),
        (LINT, "app/a.py: E501 Line too long", "E501", ("app/a.py", 12)),
    ],
)
def test_each_failure_has_its_own_words_and_place(output: str, name: str, words: str, place: tuple[str, int]) -> None:
    said = excerpts(output, [name], root="/box/p")[name]
    assert words in said
    assert place_of(said) == place


def test_what_the_output_does_not_tell_is_left_out() -> None:
    assert excerpts(PYTEST, ["tests/test_none.py::test_z"]) == {}
    assert excerpts("", ["a"]) == {}
    assert place_of("/usr/lib/python3/x.py:3: in f") is None, "a place outside of the project is none to look at"


def test_a_failure_in_the_verdict_has_its_words_and_place_and_the_names_come_first() -> None:
    names = ("tests/test_two.py::test_b", "tests/test_none.py::test_z")
    found = excerpts(PYTEST, names)
    now = CommandOutcome("tests", 1, timed_out=False, tail=PYTEST, failures=names, excerpts=found)
    judgement = compare(None, now)
    first, second = judgement.evidence[:2]
    assert (first["file"], first["line"]) == ("tests/test_two.py", 2)
    assert "{'a': 1}" in first["excerpt"]
    assert "excerpt" not in second
    assert judgement.failures == 2


@pytest.mark.parametrize("piece", ["_" * 50, "___ x ___\n", "--- FAIL: a\n", "● x\n", "a.py:1: x\n", "FAIL: t (a)\n"])
def test_hostile_output_is_read_in_a_moment(piece: str) -> None:
    began = time.monotonic()
    found = excerpts(piece * (1_000_000 // len(piece)), [f"t{n}" for n in range(20)] + ["x", "a.py: x"])
    assert all(len(said) <= LIMIT + 100 for said in found.values())
    assert time.monotonic() - began < 20


@given(st.text(max_size=500), st.lists(st.text(max_size=30), max_size=5), st.text(max_size=10))
def test_any_output_is_read(output: str, names: list[str], root: str) -> None:
    for said in excerpts(output, names, root=root).values():
        place_of(said)
