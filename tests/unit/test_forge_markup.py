"""Text from stories and agents must not mean anything in a pull request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from auto_dev.forge.markup import code, defuse, fence, inline, quoted, table

pytestmark = pytest.mark.unit

# What a forge acts on after rendering. Word characters before an @ make it an address, which some forges link too.
ACTIVE = re.compile(r"@\w|#\w|GH-\d|://|www\.", re.IGNORECASE)
HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><h1>x</h1>",
    "<!-- auto-dev story=X run=Y -->",
    "-->",
    "&lt;b&gt; &amp;#64;",
    "@octocat @org/team a@b.example",
    "fixes #1, closes owner/repo#2 resolves GH-3",
    "closes https://github.com/o/r/issues/4",
    "www.example.com",
    "[x](javascript:alert(1)) ![i](http://e.example/p.png)",
    "[ref]: http://e.example",
    "a | b | c",
    r"a \| b \\| c \\\| d",
    "`code` ``more`` ```",
    "``` \n fence",
    "~~~",
    "**bold** __bold__ *i* _i_ ~~s~~",
    "snake_case_name __init__ a_b_",
    "# heading",
    "- item",
    "1. item",
    "1) item",
    "+ item",
    "===",
    "---",
    "> quote",
    "[!NOTE]",
    "- [ ] task",
    "[^1]",
    ":tada: :+1:",
    "$x^2$ costs $5",
    "line one\nline two\n\n| a | b |\n| - | - |",
    "    indented code",
    "trailing backslash \\",
    "trailing spaces  ",
    "\u202egnp.exe",
    "\x00\x1b[31mred",
    "\ud800",
    "",
    "   ",
    "\t",
]
SIGNS = "\\`*_{}[]()<>#+-.!|~=&$@:/^\"'?;, \n\tabcGHwx019\u200bé日🎉"
texts = st.one_of(st.sampled_from(HOSTILE), st.text(SIGNS, max_size=40), st.text(max_size=40))
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def tokens(markdown: str) -> list[Token]:
    """All tokens, inline ones included, in order."""
    found: list[Token] = []
    for token in MARKDOWN.parse(markdown):
        found += [token, *(token.children or [])]
    return found


def kinds(markdown: str) -> set[str]:
    return {token.type for token in tokens(markdown)}


def rendered_text(markdown: str) -> str:
    """The text outside code: where a forge looks for mentions and references."""
    breaks = {"text": None, "text_special": None, "softbreak": "\n", "hardbreak": "\n"}
    return "".join(breaks[token.type] or token.content for token in tokens(markdown) if token.type in breaks)


@given(texts)
def test_inline_text_is_one_paragraph_of_nothing_but_text(text: str) -> None:
    assert kinds(inline(text)) <= {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}


@given(texts)
def test_inline_text_has_nothing_that_a_forge_acts_on(text: str) -> None:
    assert not ACTIVE.search(rendered_text(inline(text)))


@pytest.mark.parametrize(
    "text", ["plain words", "a_b and c-d", "50 % of 3 < 4 & 5 > 2", "x | y", "`ls -la`", "* star", "1. first", "# no"]
)
def test_inline_text_looks_as_it_was(text: str) -> None:
    assert rendered_text(inline(text)).replace("\u200b", "") == text


def test_snake_case_stays_readable_in_the_raw_text() -> None:
    assert inline("call read_all_files now") == "call read_all_files now"


@given(texts)
def test_a_quote_is_one_block_quote_of_plain_text(text: str) -> None:
    quote = quoted(text)
    allowed = {
        "blockquote_open",
        "blockquote_close",
        "paragraph_open",
        "paragraph_close",
        "inline",
        "text",
        "softbreak",
    }
    assert kinds(quote) <= allowed | {"text_special"}
    assert sum(token.type == "blockquote_open" for token in tokens(quote)) == bool(quote)
    assert not ACTIVE.search(rendered_text(quote))


def test_a_quote_keeps_the_lines_apart() -> None:
    assert quoted("one\ntwo\n\n\n\nthree") == "> one\n> two\n>\n> three"


@given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=5))
def test_a_table_keeps_its_rows_and_cells(rows: list[tuple[str, str, str]]) -> None:
    cells = [(inline(a), code(b, cell=True), inline(c)) for a, b, c in rows]
    found = [token.type for token in tokens(table(["A", "B", "C"], cells))]
    assert found.count("table_open") == 1
    assert found.count("tr_open") == len(rows) + 1
    assert found.count("td_open") == 3 * len(rows)
    assert not set(found) & {"html_inline", "html_block", "link_open", "image", "em_open", "strong_open"}


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_no_cell_ends_where_a_stricter_reader_of_tables_would_end_it(rows: list[tuple[str, str]]) -> None:
    """A reader that knows no backslash before a pipe must count the same cells, so there is no pipe inside any."""
    cells = [(inline(a), code(b, cell=True)) for a, b in rows]
    assert all(line.count("|") == 3 for line in table(["A", "B"], cells).split("\n"))


def test_a_table_with_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        table(["A", "B"], [("x",)])


@given(texts)
def test_code_shows_exactly_its_text(text: str) -> None:
    spans = [token.content for token in tokens(f"- {code(text)} end") if token.type == "code_inline"]
    flat = " ".join(inline(text).split())
    assert len(spans) <= 1
    assert bool(spans) == bool(flat)


@pytest.mark.parametrize("text", ["a", "`", "``a`", "a`", "x ``` y", "a|b", "<b>", "@me #1"])
def test_code_needs_as_many_backticks_as_its_text_has(text: str) -> None:
    assert [t.content for t in tokens(f"see {code(text)}.") if t.type == "code_inline"] == [text]


@given(st.lists(texts, max_size=5))
def test_a_fence_holds_all_of_its_lines(lines: list[str]) -> None:
    block = fence(lines, "sh")
    assert [token.type for token in tokens(block + "\n\nafter")] == [
        *("fence", "paragraph_open", "inline", "text", "paragraph_close")
    ]


@given(texts)
def test_defused_text_looks_the_same(text: str) -> None:
    assert defuse(text).replace("\u200b", "") == text.replace("\u200b", "")
