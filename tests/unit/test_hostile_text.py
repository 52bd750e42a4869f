"""What an agent or its tests write is read in a time that grows with its length: the daemon serves others meanwhile."""

from __future__ import annotations

import time

import pytest

from auto_dev.gates.failures import parse_failures
from auto_dev.gates.sides import looks_like_tests
from auto_dev.gates.subjects import Subjects

SECONDS = 3.0  # a linear reading takes some hundredths of one


@pytest.mark.parametrize("unit", ["::", "##::E", ":: FAILED", "[gw1] a::b ", "FAILED a::", "::FAILED [ 1%]"])
def test_failures_are_found_in_any_output(unit: str) -> None:
    output = (unit * (2_000 // len(unit)) + "\n") * 200
    begun = time.monotonic()
    parse_failures(output)
    assert time.monotonic() - begun < SECONDS


@pytest.mark.parametrize(
    "text", ["a.py::b[x - y] FAILED [ 50%]", "[gw0] a.py::b[x - y] FAILED  ", "a.py::b[x - y] ERROR"]
)
def test_what_pytest_says_of_a_test_is_still_understood(text: str) -> None:
    assert parse_failures(text) == ("a.py::b[x - y]",)


@pytest.mark.parametrize("unit", [b"\n", b" ", b"\t\n", b"async ", b"#[ ", b"def "])
@pytest.mark.parametrize("path", ["a.py", "a.rs", "a.js"])
def test_any_file_is_looked_at_for_tests(path: str, unit: bytes) -> None:
    begun = time.monotonic()
    assert not looks_like_tests(path, unit * (200_000 // len(unit)))
    assert time.monotonic() - begun < SECONDS


@pytest.mark.parametrize("unit", [b"\n", b" ", b"from ", b"'", b'"x'])
def test_any_test_file_is_looked_at_for_what_it_imports(unit: bytes) -> None:
    begun = time.monotonic()
    Subjects(frozenset({"gone"}), frozenset({"gone"})).file_gone_by_order("test_a.py", unit * (200_000 // len(unit)))
    assert time.monotonic() - begun < SECONDS
