"""A small scanner for languages with braces: blanks comments and strings out, and finds which bracket closes which.

Not a parser. It is enough to count assertions and to find where a test ends without falling for text in strings and
comments; every position in the result is the position in the source.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

_OPEN: Final = {"(": ")", "[": "]", "{": "}"}
_CLOSE: Final = frozenset(")]}")
_BLANK: Final = re.compile(r"[^\n]")

# What may begin a comment or a string, by language.
_STARTS: Final = {
    "javascript": re.compile(r"//|/\*|[\"'`/{}]"),
    "go": re.compile(r"//|/\*|[\"'`]"),
    "rust": re.compile(r"//|/\*|\b[bc]?r#*\"|\"|'"),
}
_LINE_END: Final = re.compile(r"\n|$")
_DOUBLE: Final = re.compile(r"\"(?:\\.|[^\"\\\n])*(?:\"|(?=\n)|$)", re.DOTALL)
_DOUBLE_MULTI: Final = re.compile(r"\"(?:\\.|[^\"\\])*(?:\"|$)", re.DOTALL)
_SINGLE: Final = re.compile(r"'(?:\\.|[^'\\\n])*(?:'|(?=\n)|$)", re.DOTALL)
_RUST_CHAR: Final = re.compile(r"'(?:\\(?:u\{[^}\n]{0,8}\}|.)[^'\n]{0,4}|[^\\'\n])'")
# Bounded: each "/" is tried, and a longer one would be read to the end of its line each time.
_REGEX: Final = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n]){0,500}\]|[^/\\\[\n]){1,500}/[a-z]*")
_TEMPLATE_STOP: Final = re.compile(r"\\.|`|\$\{", re.DOTALL)
_REGEX_AFTER: Final = frozenset("(,=:[!&|?{};+-*%~^<>\n")
_REGEX_WORDS: Final = frozenset(
    ("return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "await", "yield")
)
_LAST_WORD: Final = re.compile(r"(\w+)\s*$")


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """``code`` is the source without comments, ``bare`` also without what stands in strings (quotes stay).

    ``pairs``: position of an opening bracket → position of its closing one, in ``bare``.
    """

    code: str
    bare: str
    pairs: dict[int, int]
    starts: list[int]

    def line(self, position: int) -> int:
        """The line number (from 1) of ``position``."""
        return bisect_right(self.starts, position)

    def text_of(self, number: int) -> str:
        """The line ``number`` without comments, stripped."""
        start = self.starts[number - 1]
        end = self.code.find("\n", start)
        return self.code[start : end if end >= 0 else len(self.code)].strip()


def scan(source: str, language: str) -> Scan:
    """Scan ``source`` of ``language`` (javascript, go, rust). Never raises; broken source gives a best effort."""
    comments, strings = _spans(source, language)
    code = _blanked(source, comments)
    bare = _blanked(code, strings)
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    return Scan(code, bare, _pairs(bare), starts)


def _spans(source: str, language: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    comments: list[tuple[int, int]] = []
    strings: list[tuple[int, int]] = []
    templates: list[int] = []  # depth of braces inside each open ${…}
    starts = _STARTS[language]
    at = 0
    while match := starts.search(source, at):
        begin, mark = match.start(), match.group()
        if mark == "//":
            at = _end(_LINE_END, source, begin)
            comments.append((begin, at))
        elif mark == "/*":
            closing = source.find("*/", begin + 2)
            at = len(source) if closing < 0 else closing + 2
            comments.append((begin, at))
        elif mark in "{}":
            at = begin + 1
            if templates:
                templates[-1] += 1 if mark == "{" else -1
                if templates[-1] < 0:  # the ${…} ends, the template goes on
                    templates.pop()
                    at = _template(source, at, strings, templates)
        elif mark == "`" and language == "javascript":
            at = _template(source, begin + 1, strings, templates)
        else:
            at = _string(source, begin, mark, language)
            if at > begin + 1:
                strings.append((begin + 1, at - 1))
    return comments, strings


def _string(source: str, begin: int, mark: str, language: str) -> int:
    """Where the string, character or regular expression at ``begin`` ends; ``begin + 1`` when it is none."""
    if mark == "`":  # Go's raw string
        closing = source.find("`", begin + 1)
        return len(source) if closing < 0 else closing + 1
    if len(mark) > 1:  # Rust's r#"…"#
        hashes = mark.count("#")
        closing = source.find('"' + "#" * hashes, begin + len(mark))
        return len(source) if closing < 0 else closing + 1 + hashes
    if mark == "/":
        regex = _REGEX.match(source, begin) if _regex_may_stand(source, begin) else None
        return regex.end() if regex else begin + 1
    if mark == "'" and language == "rust":
        character = _RUST_CHAR.match(source, begin)  # else a lifetime
        return character.end() if character else begin + 1
    pattern = _SINGLE if mark == "'" else _DOUBLE_MULTI if language == "rust" else _DOUBLE
    return _end(pattern, source, begin)


def _template(source: str, at: int, strings: list[tuple[int, int]], templates: list[int]) -> int:
    """Read a template literal from ``at`` to its end or to its next ``${``."""
    begin = at
    while match := _TEMPLATE_STOP.search(source, at):
        at = match.end()
        if match.group() == "`":
            strings.append((begin, match.start()))
            return at
        if match.group() == "${":
            strings.append((begin, match.start()))
            templates.append(0)
            return at
    strings.append((begin, len(source)))
    return len(source)


def _regex_may_stand(source: str, at: int) -> bool:
    before = source[max(at - 40, 0) : at].rstrip(" \t")
    if not before or before[-1] in _REGEX_AFTER:
        return True
    word = _LAST_WORD.search(before)
    return word is not None and word[1] in _REGEX_WORDS


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    at = 0
    for begin, end in spans:
        if begin < at:
            continue
        parts += [text[at:begin], _BLANK.sub(" ", text[begin:end])]
        at = end
    parts.append(text[at:])
    return "".join(parts)


def _pairs(bare: str) -> dict[int, int]:
    pairs: dict[int, int] = {}
    stack: list[int] = []
    for match in re.finditer(r"[()\[\]{}]", bare):
        character, at = match.group(), match.start()
        if character in _OPEN:
            stack.append(at)
        elif character in _CLOSE:
            # A stray closing bracket closes the nearest fitting one, or nothing.
            for depth in range(len(stack) - 1, max(len(stack) - 8, -1), -1):
                if _OPEN[bare[stack[depth]]] == character:
                    pairs[stack[depth]] = at
                    del stack[depth:]
                    break
    return pairs


def _end(pattern: re.Pattern[str], source: str, at: int) -> int:
    match = pattern.search(source, at) if pattern is _LINE_END else pattern.match(source, at)
    return match.start() if match and pattern is _LINE_END else match.end() if match else at + 1
