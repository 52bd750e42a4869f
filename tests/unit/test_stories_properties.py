"""No input makes the reader crash, hang or lose an acceptance criterion."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from auto_dev import text as texts
from auto_dev.model import FileStatus
from auto_dev.stories.bullets import unchecked
from auto_dev.stories.fingerprint import fingerprint
from auto_dev.stories.model import Story
from auto_dev.stories.reader import read_file

pytestmark = pytest.mark.unit

RELAXED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

PIECES = st.sampled_from(
    [
        "---\n", "+++\n", "id: A-1\n", "title: T\n", "acceptance_criteria:\n", "  - one: two\n", "- @x\n",
        "depends_on: [A-2\n", "status: done\n", "## Acceptance Criteria\n", "- [ ] c\n", "### B-2: Title\n",
        "**Status:** Ready\n", "| ID | Title |\n", "|---|---|\n", "| C-3 | x |\n", "```\n", "<!--", "-->", "&a ",
        "*a ", "!!python/x ", "{", "}", "[", "]", '"', "'", "|", ">", "\t", "\r\n", "\0", "\ufeff", "\u2028",
        "epics:\n", "tasks:\n", "  - id: 7\n", "Given x\n", "blocks: A-1\n", ": ", "# ", "- ",
    ]
)  # fmt: skip
PATHS = st.sampled_from(
    [
        "x.md",
        "A-1.md",
        "ready/A-1/A-1.md",
        "ready/A-1/ELAB-A-1.md",
        "stories.index.md",
        "001-x.md",
        "e.yaml",
        "A-1/story.yaml",
    ]
)


@RELAXED
@given(path=PATHS, data=st.binary(max_size=400))
@example(path="x.md", data=b"---\nid: A-1\nx: &a [*a]\n---\n")
@example(path="x.md", data=b"---\n? {a: 1}\n: b\nid: A-1\n---\n")
@example(path="e.yaml", data=b"tasks: &t\n  - id: 1\n    tasks: *t\n")
def test_arbitrary_bytes_never_crash(path: str, data: bytes) -> None:
    check_sane(path, data)


@RELAXED
@given(path=PATHS, pieces=st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=30))
def test_fragments_of_stories_in_any_order_never_crash(path: str, pieces: list[str]) -> None:
    check_sane(path, "".join(pieces).encode("utf-8", "surrogatepass"))


def check_sane(path: str, data: bytes) -> None:
    stories, problems = read_file(path, data)
    for story in stories:
        assert Story.model_validate_json(story.model_dump_json()) == story
        assert "\0" not in story.model_dump_json().replace("\\u0000", "\0")
        assert 1 <= story.priority <= 5
    known = {story.id for story in stories}
    for problem in problems:
        assert problem.level in ("error", "warning")
        assert problem.message
        assert "\n" not in problem.message
        if problem.level == "error":
            assert set(problem.story_ids) <= known | {""} or not stories


# What people write after a dash: anything on one line.
LINE = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="\ufeff"), min_size=1, max_size=60
)
ODD = st.sampled_from(
    [
        "API: GET/PUT /projects/:id/autopilot (policy), GET /x", "Foo: bar: baz", "@thing", '"quoted" and more',
        "`code`: x", "Eligible = status:ready + all", "closes #12 and #13", "a # b", "{name} in the URL",
        "[link](x) works", "*bold* claim", "& more", "! now", "% done", "| pipe", "> 80% coverage", "2026-01-07",
        "yes", "null", "1.10", "0x1F", "12:30:45", "~", "key:", "'single' quoted", "'tis", '"', "- dash",
        "-5 degrees", "? maybe", "a: 'b", "---", "...", "<b>x</b>", "a\tb", "#1 x", "Given a user, when x, then y",
        "C:\\path\\n", "a | b | c", "**AC1:** text", "AC-2: text", "# not a heading", "1. one", "日本語: テスト",
        "emoji ✅: yes", "x" * 200, ":", "::", "a:", "a :b", "[ ] inner", "[x", "]", "}", "{{ template }}", "<!-- c",
    ]
)  # fmt: skip
STRUCTURED = re.compile(r"(id|text|criterion|description|title|name|given|when|then)\s*:\s", re.IGNORECASE)
CRITERIA = st.lists(st.one_of(ODD, LINE), min_size=1, max_size=6)


def flat(text: str) -> str:
    return " ".join(texts.clean(text).replace("\u2028", " ").replace("\u2029", " ").split())


def expected(text: str) -> str:
    return unchecked(flat(text))


def story_of(source: str) -> Story:
    stories, _ = read_file("A-1.md", source.encode())
    assert [story.id for story in stories] == ["A-1"]
    return stories[0]


@RELAXED
@given(criteria=CRITERIA, indent=st.sampled_from(["  ", "", "    "]))
def test_unquoted_frontmatter_items_are_all_found_again(criteria: list[str], indent: str) -> None:
    wanted = [expected(text) for text in criteria if flat(text)]
    # A closed quote, a block sign, an anchor and the like are YAML on purpose; all else is a sentence.
    assume(
        not any(
            re.match(r"[|>][+-]?\d?[+-]?(\s|$)|&|\*[\w-]+$|[\"'].*[\"']\s*(#.*)?$|\{.*\}$|#(\s|$)|-(\s|$)", w)
            for w in wanted
        )
    )
    assume(
        not any(
            re.match(r"(id|text|criterion|description|title|name|given|when|then)\s*:\s", w, re.IGNORECASE)
            for w in wanted
        )
    )
    assume(all(wanted))
    items = "".join(f"{indent}- {text}\n" for text in criteria)
    story = story_of(f"---\nid: A-1\ntitle: T\nacceptance_criteria:\n{items}status: ready\n---\nBody\n")
    assert list(story.acceptance_criteria) == list(dict.fromkeys(wanted))
    assert story.title == "T"


@RELAXED
@given(criteria=CRITERIA)
def test_quoted_frontmatter_items_are_all_found_again(criteria: list[str]) -> None:
    wanted = [expected(text) for text in criteria if flat(text)]
    items = "".join(f"  - {json.dumps(text, ensure_ascii=False)}\n" for text in criteria)
    story = story_of(f"---\nid: A-1\ntitle: T\nacceptance_criteria:\n{items}---\nBody\n")
    assert list(story.acceptance_criteria) == list(dict.fromkeys(filter(None, wanted)))


@RELAXED
@given(criteria=CRITERIA, marker=st.sampled_from(["- [ ] ", "* [x] ", "- ", "+ ", "1. ", "2) "]))
def test_body_items_are_all_found_again(criteria: list[str], marker: str) -> None:
    wanted = [expected(text) for text in criteria]
    assume(all(re.search(r"\w{2}", text) for text in wanted))
    assume(not any(re.match(r"(tbd|todo|none|n/a|to be defined)\W*$", text, re.IGNORECASE) for text in wanted))
    assume(not any(re.match(r"([-*+\u2022\u25e6\u25aa\u2023\u00b7]|\d+[.)])(\s|$)", text) for text in wanted))
    body = "".join(f"{marker}{text}\n" for text in criteria)
    story = story_of(f"---\nid: A-1\ntitle: T\n---\n\n## Acceptance Criteria\n\n{body}\n## Notes\n\n- not one\n")
    found = " || ".join(story.acceptance_criteria)
    for text in wanted:
        assert text in found
    assert "not one" not in story.acceptance_criteria


@RELAXED
@given(first=CRITERIA, second=CRITERIA)
def test_frontmatter_and_body_are_united(first: list[str], second: list[str]) -> None:
    words = [[re.sub(r"[^a-z ]", "", flat(text).lower()).strip() for text in part] for part in (first, second)]
    one, two = ([f"it does {w}".strip() for w in part] for part in words)
    head = "".join(f"  - {text}\n" for text in one)
    body = "".join(f"- [ ] {text}\n" for text in two)
    story = story_of(f"---\nid: A-1\ntitle: T\nacceptance_criteria:\n{head}---\n## Acceptance Criteria\n{body}")
    assert set(story.acceptance_criteria) == {flat(text) for text in (*one, *two)}
    assert len(set(story.acceptance_criteria)) == len(story.acceptance_criteria)


TEXT = st.text(max_size=30).map(texts.clean)


@settings(deadline=None, max_examples=100)
@given(
    st.builds(
        Story,
        id=st.text(string.ascii_letters + "-0123456789", min_size=1, max_size=10),
        title=TEXT,
        path=TEXT,
        acceptance_criteria=st.lists(TEXT, max_size=3).map(tuple),
        status=st.sampled_from(FileStatus),
        estimate_hours=st.none() | st.floats(0, 1000),
        extra=st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-9, 9) | TEXT, max_size=3),
        position=st.integers(0, 9),
    )
)
def test_a_story_survives_json_and_keeps_its_fingerprint(story: Story) -> None:
    again = Story.model_validate(json.loads(json.dumps(story.model_dump(mode="json"))))
    assert again == story
    assert fingerprint(again) == fingerprint(story)
    assert fingerprint(story.model_copy(update={"position": 99})) == fingerprint(story)
    assert fingerprint(story.model_copy(update={"title": story.title + "x"})) != fingerprint(story)
