"""Reading the tests of a file, whatever its language."""

from __future__ import annotations

import posixpath

from auto_dev.gates.syntax.go import read_go
from auto_dev.gates.syntax.javascript import read_javascript
from auto_dev.gates.syntax.parse import TooLong, measured
from auto_dev.gates.syntax.python import read_python
from auto_dev.gates.syntax.rust import read_rust
from auto_dev.gates.syntax.suite import MAX_SOURCE, Suite, language_of


def read_suite(path: str, source: bytes) -> Suite:
    """The tests in ``source``; ``problem`` says why they cannot be read. Never raises."""
    if len(source) > MAX_SOURCE:
        return Suite(problem=f"too large to be judged ({len(source) // 1024} KB)")
    try:
        with measured():
            return _read(path, source)
    except TooLong:
        return Suite(problem="takes too long to be read")


def _read(path: str, source: bytes) -> Suite:
    language = language_of(path)
    if language == "python":
        return read_python(source)
    if b"\0" in source:
        return Suite(problem="binary")
    if language == "javascript":
        return read_javascript(source, posixpath.splitext(path)[1].lstrip(".").lower())
    if language == "go":
        return read_go(source, path)
    return read_rust(source) if language == "rust" else Suite()
