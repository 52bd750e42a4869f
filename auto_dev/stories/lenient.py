"""Lists of sentences in YAML, read as their author wrote them.

People write sentences after a dash, and YAML takes some of them for something else (``- API: GET /x`` is a map, what
follows `` #`` is a comment) or refuses them (``- @thing``, ``- "quoted" and more``, ``- [x] done``). Before the parser
sees the text, such items are put in quotes here: the number of lines stays, and so do the line numbers in messages.
"""

from __future__ import annotations

import json
import re
from typing import Final

from auto_dev.stories import bullets, keys, yamltree

KEY_LINE = re.compile(r"""(?P<lead>[ \t]*(?:- +)?)(?P<key>["']?[A-Za-z_][\w .-]*?["']?)[ \t]*:(?P<rest>[ \t].*|)$""")
_NOTHING_AFTER = re.compile(r"\s*(?:[&!][\w!]+\s*)?(?:#.*)?$")
_BLOCK = re.compile(r"[|>][+-]?\d?[+-]?\s*(?:#.*)?$")
_SAFE = re.compile(r"[A-Za-z0-9(/.$+=<\u0080-\U0010ffff][^\n]*$")
_SIGNS = re.compile(r":(?:\s|$)|\s#")
_PAIR = re.compile(r"[\w\"'-]+\s*:(?:\s|$)")
_TEXT_PAIR = re.compile(r"(?:id|text|criterion|description|title|name|given|when|then)\s*:\s", re.IGNORECASE)
_ALIAS = re.compile(r"\*([\w-]+)\s*$")
_ANCHOR = re.compile(r"&([\w-]+)(?:\s|$)")
_DASH: Final = re.compile(r"([ \t]*)-(?:[ \t]+|$)")


def quoted(source: str) -> str:
    """``source`` with the sentences that YAML would distort or refuse put in quotes. Same number of lines."""
    lines = source.split("\n")
    index = 0
    while index < len(lines):
        match = KEY_LINE.match(lines[index])
        key = keys.known(match["key"].strip("\"'")) if match else ""
        if match and key in keys.SENTENCES and _NOTHING_AFTER.match(match["rest"]):
            index = _quote_list(lines, index + 1, bullets.width(match["lead"].replace("-", " ")), source)
            continue
        if match and key in keys.TEXTS:
            _quote_value(lines, index, match)
        index += 1
    return "\n".join(lines)


def _quote_list(lines: list[str], start: int, key_column: int, source: str) -> int:
    """Quote the items of the list that begins at ``start``; returns the line after it."""
    index = start
    while index < len(lines):
        line = lines[index]
        if not line.strip() or line.lstrip().startswith("# ") or line.strip() == "#":
            index += 1
            continue
        column = bullets.width(line)
        dash = _DASH.match(line)
        if column < key_column or (column == key_column and not dash):
            return index
        if not dash:
            index += 1  # a sub-key such as "functional:", whose list follows
            continue
        end = _item_end(lines, index, column, key_column)
        _quote_item(lines, index, end, source)
        index = end
    return index


def _item_end(lines: list[str], start: int, column: int, key_column: int) -> int:
    """The line after the item: all deeper lines belong to it. Trailing blank and comment lines do not."""
    end = start + 1
    for index in range(start + 1, len(lines)):
        line = lines[index]
        if not line.strip():
            continue
        if bullets.width(line) <= max(column, key_column):
            break
        if not line.lstrip().startswith("# "):
            end = index + 1
    return end


def _quote_item(lines: list[str], start: int, end: int, source: str) -> None:
    dash = _DASH.match(lines[start])
    assert dash
    first = lines[start][dash.end() :].strip()
    rest = [line for line in lines[start + 1 : end] if not line.lstrip().startswith("# ")]
    if _fits(first, rest, lines[start:end], source):
        return
    text = bullets.joined([first, *rest])
    lines[start] = f"{' ' * bullets.width(lines[start])}- {json.dumps(text, ensure_ascii=False)}"
    lines[start + 1 : end] = [""] * (end - start - 1)


def _fits(first: str, rest: list[str], region: list[str], source: str) -> bool:
    """Whether YAML itself reads the item as it was meant."""
    more = any(line.strip() for line in rest)
    if not first:
        return not more
    if _SAFE.match(first) and not more and not _SIGNS.search(first):
        return "\t" not in region[0].split("-")[0]
    if first[0] in "|>" and _BLOCK.match(first):
        return True
    if first[0] in "\"'":
        return isinstance(_fragment(region), yamltree.Scalar)
    alias, anchor = _ALIAS.match(first), _ANCHOR.match(first)
    if (alias and f"&{alias[1]}" in source) or (anchor and f"*{anchor[1]}" in source):
        return True
    structured = first[0] == "{" or _TEXT_PAIR.match(first) or (_PAIR.match(first) and any(map(_is_pair, rest)))
    return bool(structured) and isinstance(_fragment(region), yamltree.Map)


def _is_pair(line: str) -> bool:
    return bool(_PAIR.match(line.strip()))


def _fragment(region: list[str]) -> yamltree.Node | None:
    """The one item that the lines hold, as YAML reads it; ``None`` when it does not."""
    try:
        documents = yamltree.parse("\n".join(region))
    except yamltree.TreeError:
        return None
    node = documents[0] if len(documents) == 1 else None
    return node.items[0] if isinstance(node, yamltree.Seq) and len(node.items) == 1 else None


def _quote_value(lines: list[str], index: int, match: re.Match[str]) -> None:
    """Quote a title, goal or the like whose one-line value YAML would distort: ``title: Fix #12: tabs``."""
    value = match["rest"].strip()
    if not value or _BLOCK.match(value) or unbalanced(value) or _continues(lines, index):
        return
    bare = re.sub(r"\s#(?:\s.*)?$", "", value).rstrip()
    suspicious = _SIGNS.search(bare) or not _SAFE.match(bare)
    if not suspicious or isinstance(_scalar(value), yamltree.Scalar):
        return
    lines[index] = f"{match['lead']}{match['key']}: {json.dumps(bare, ensure_ascii=False)}"


def _scalar(value: str) -> yamltree.Node | None:
    if re.search(r"\s#\S", value) and value[0] not in "\"'":
        return None
    if value[0] in "&*!":
        return None
    try:
        documents = yamltree.parse(value)
    except yamltree.TreeError:
        return None
    return documents[0] if len(documents) == 1 else None


def _continues(lines: list[str], index: int) -> bool:
    column = bullets.width(lines[index])
    following = lines[index + 1] if index + 1 < len(lines) else ""
    return bool(following.strip()) and bullets.width(following) > column


def unbalanced(value: str) -> bool:
    """Whether a quote or bracket is opened and not closed on the line: nobody can say what was meant."""
    first = value[0]
    if first in "\"'":
        return first not in value[1:]
    return first in "[{" and "]}"["[{".index(first)] not in value
