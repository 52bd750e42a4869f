"""What a failing test said: its own part of a command's output, found by the headings that test runners print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from auto_dev.text import clean

MOST: Final = 100  # failures whose words are kept
LIMIT: Final = 1_500  # characters of each
_LINES: Final = 80
_TITLE: Final = 400

_HEADINGS: Final = (
    re.compile(r"^_{3,} (?:ERROR at (?:setup|teardown) of )?(?P<title>\S.*?) _{3,}$"),  # pytest
    re.compile(r"^(?:FAIL|ERROR): (?P<title>\w+ \([\w.<>]+\).*)$"),  # unittest
    re.compile(r"^\s*--- FAIL: (?P<title>\S+)"),  # go
    re.compile(r"^---- (?P<title>\S.*?) stdout ----$"),  # cargo
    re.compile(r"^ {0,4}● (?P<title>\S.*)$"),  # jest
    re.compile(r"^ *FAIL +(?P<title>\S+ > \S.*)$"),  # vitest
    re.compile(r"^\s*not ok \d+ (?:- )?(?P<title>\S.*)$"),  # TAP
    re.compile(r"^ {0,4}✖ (?P<title>\S.*?)(?: \([\d.]+m?s\))?$"),  # node:test
)
_END: Final = re.compile(
    r"^(?:={3,}|_{3,} |Ran \d+ tests?|FAIL\t|ok {2,}\t?|failures:$|Test Suites:|\s*⎯{3,}|test result:"
    r"|# (?:tests|Subtest))"
)
_WORD: Final = re.compile(r"\w+")
_PLACES: Final = (
    re.compile(r"^(?P<file>[\w@./+-]+\.\w{1,8}):(?P<line>\d{1,7})(?::|$| )"),  # pytest, compilers, linters
    re.compile(r"^(?P<file>[\w@./+-]+\.\w{1,8})\((?P<line>\d{1,7}),\d+\):"),  # tsc
    re.compile(r"^\s*File \"(?P<file>[^\"\n]{1,400})\", line (?P<line>\d{1,7})"),  # Python
    re.compile(r"^\s+(?P<file>[\w@./+-]+_test\.go):(?P<line>\d{1,7}):"),  # go
    re.compile(r"(?:\(|❯ |at )(?P<file>[\w@./+-]+\.[cm]?[jt]sx?):(?P<line>\d{1,7}):\d+"),  # JavaScript
    re.compile(r"panicked at (?:'.*', )?(?P<file>[\w@./+-]+\.rs):(?P<line>\d{1,7})"),  # Rust
)


@dataclass(frozen=True, slots=True)
class _Section:
    words: tuple[str, ...]
    text: str


def excerpts(output: str, names: Iterable[str], *, root: str = "") -> dict[str, str]:
    """For the first failures of ``names`` what ``output`` tells about each; those that it says nothing of are left out.

    ``root``: the folder in which the command ran; paths below it become relative.
    """
    wanted = [name for _, name in zip(range(MOST), dict.fromkeys(names), strict=False)]
    if not wanted:
        return {}
    text = clean(output)
    if root:
        text = text.replace(root.rstrip("/") + "/", "")
    lines = text.split("\n")
    sections = list(_sections(lines))
    found = {name: _best(name, sections) or _raw(name, lines) for name in wanted}
    return {name: clean(said, LIMIT) for name, said in found.items() if said}


def place_of(excerpt: str) -> tuple[str, int] | None:
    """The file and line that an excerpt ends at, where it names one below the project's folder."""
    for text in reversed(excerpt.split("\n")):
        for pattern in _PLACES:
            match = pattern.search(text)
            if match and not match["file"].startswith(("/", "../")) and "node_modules/" not in match["file"]:
                return match["file"].removeprefix("./"), int(match["line"])
    return None


def _sections(lines: list[str]) -> Iterator[_Section]:
    begun: tuple[str, int] | None = None
    for at, text in enumerate([*lines, "==="]):
        title = _title(text)
        if title is None and not _END.match(text):
            continue
        if begun is not None:
            body = lines[begun[1] : at]
            cut = body if len(body) <= _LINES else [*body[:10], "[…]", *body[-(_LINES - 10) :]]
            yield _Section(_words(begun[0]), "\n".join(cut).strip("\n"))
        begun = (title, at + 1) if title is not None else None


def _title(text: str) -> str | None:
    if len(text) > _TITLE:
        return None
    return next((match["title"] for pattern in _HEADINGS if (match := pattern.match(text))), None)


def _best(name: str, sections: list[_Section]) -> str:
    """The section whose heading is the end of the name; of several, the one that mentions the name's file."""
    words = _words(name)
    fitting = [one for one in sections if one.words and words[-len(one.words) :] == one.words and one.text.strip()]
    file = re.split(r"::| > ", name, maxsplit=1)[0]
    return next((one.text for one in fitting if file in one.text), fitting[0].text if fitting else "")


def _raw(name: str, lines: list[str]) -> str:
    """The line of a linter or a compiler that ``file: message`` was read from, with its place."""
    file, found, what = name.partition(": ")
    if not found or " " in file:
        return ""
    fitting = (text for text in lines if text.removeprefix("./").startswith(file) and text.rstrip().endswith(what))
    return next((text.removeprefix("./") for text in fitting), "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text))
