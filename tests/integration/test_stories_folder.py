"""A folder on disk: what is walked, what is left out, and how its files are put together."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from auto_dev.errors import StoryError
from auto_dev.model import FileStatus
from auto_dev.stories.model import Backlog, Story
from auto_dev.stories.reader import read_folder
from auto_dev.stories.walk import MAX_BYTES

pytestmark = pytest.mark.integration


def put(root: Path, name: str, content: str | bytes) -> Path:
    path = root / (name if name.endswith((".md", ".yaml", ".txt")) else f"{name}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def text(story_id: str, *lines: str) -> str:
    return "\n".join(
        ["---", f"id: {story_id}", f"title: Title of {story_id}", "acceptance_criteria: [a]", *lines, "---", "Body", ""]
    )


def by_id(backlog: Backlog) -> dict[str, Story]:
    return {story.id: story for story in backlog.stories}


def messages(backlog: Backlog, level: str) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in backlog.problems if problem.level == level]


def kinds(backlog: Backlog) -> dict[str, str]:
    return {document.path: document.kind for document in backlog.documents}


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: p / "empty", lambda p: p / "file.md"])
def test_no_folder_an_empty_one_or_a_file_is_one_clear_line(tmp_path: Path, make: object) -> None:
    (tmp_path / "empty" / "_x").mkdir(parents=True)
    put(tmp_path, "empty/_x/A-1", text("A-1"))
    put(tmp_path, "file", "x")
    with pytest.raises(StoryError) as caught:
        read_folder(make(tmp_path))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_is_read_in_the_order_of_paths_and_twice_alike(tmp_path: Path) -> None:
    for name in ("b/A-3", "a/A-2", "A-1", "ü ber/A 4"):
        put(tmp_path, name, text(name[-3:].replace(" ", "-")))
    put(tmp_path, "README", "# Read me\n")
    put(tmp_path, "notes.txt", "---\nid: T-1\n---\n")
    put(tmp_path, "_drafts/A-9", text("A-9"))
    put(tmp_path, ".git/A-8", text("A-8"))
    put(tmp_path, "a/_A-7", text("A-7"))
    backlog = read_folder(tmp_path)
    assert [(story.id, story.position) for story in backlog.stories] == [("A-1", 0), ("A-2", 1), ("A-3", 2), ("A-4", 3)]
    assert backlog.stories[3].path == "ü ber/A 4.md"
    assert backlog.files == 5
    assert kinds(backlog) == {"README.md": "document"}
    assert backlog.problems == ()
    assert read_folder(tmp_path) == backlog


def test_a_broken_file_holds_back_its_own_story_only(tmp_path: Path) -> None:
    put(tmp_path, "A-1", text("A-1"))
    put(tmp_path, "A-2", '---\nid: A-2\ntitle: "open\nacceptance_criteria: [a]\n---\n')
    put(tmp_path, "A-3-latin", "---\nid: A-3\ntitle: Größe\n---\n".encode("latin-1"))
    put(tmp_path, "A-4", b"\xff\xfe" + "---\nid: A-4\ntitle: wide\n---\n".encode("utf-16-le"))
    put(tmp_path, "A-5-huge", b"x" * (MAX_BYTES + 1))
    put(tmp_path, "A-6", text("A-6", "depends_on: [A-5]"))
    backlog = read_folder(tmp_path)
    assert sorted(by_id(backlog)) == ["A-1", "A-2", "A-3", "A-4", "A-5", "A-6"]
    assert sorted(backlog.held_back()) == ["A-2", "A-3", "A-5"]
    assert by_id(backlog)["A-4"].title == "wide"
    told = " ".join(messages(backlog, "error"))
    assert "A-3-latin.md: not UTF-8: byte" in told
    assert "A-5-huge.md: larger than 2 MB" in told


def test_links_out_of_the_folder_loops_and_pipes_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/A-9", text("A-9"))
    root = tmp_path / "stories"
    put(root, "A-1", text("A-1"))
    put(root, "_store/A-2", text("A-2"))
    (root / "A-9.md").symlink_to(outside)
    (root / "away").symlink_to(outside.parent)
    (root / "loop.md").symlink_to("loop.md")
    (root / "up").symlink_to("..")
    (root / "here").symlink_to(".")
    (root / "gone.md").symlink_to("nowhere.md")
    (root / "again.md").symlink_to("A-1.md")
    (root / "linked.md").symlink_to("_store/A-2.md")
    os.mkfifo(root / "A-3.md")
    (root / "A-4.md").mkdir()
    backlog = read_folder(root)
    assert sorted(by_id(backlog)) == ["A-1", "A-2", "A-3"]
    assert sorted(backlog.held_back()) == ["A-3"]
    assert sorted(message.split(":")[0] for message in messages(backlog, "warning")) == [
        "A-9.md",
        "away",
        "gone.md",
        "here",
        "loop.md",
        "up",
    ]
    assert messages(backlog, "error") == ["A-3.md: not a regular file"]


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "real/A-1", text("A-1"))
    (tmp_path / "link").symlink_to("real")
    assert [story.path for story in read_folder(tmp_path / "link").stories] == ["A-1.md"]


def test_names_that_are_no_unicode_are_read(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"A-1-\xff\n.md")).write_text(text("A-1"))
    [story] = read_folder(tmp_path).stories
    assert story.id == "A-1"
    assert "\n" not in story.path
    story.model_dump_json().encode()


def test_lanes_with_story_folders_and_their_companions(tmp_path: Path) -> None:
    main = text("WISH-2005a", "status: uat")
    put(tmp_path, "ready-to-work/WISH-2005a/WISH-2005a", main)
    put(
        tmp_path,
        "ready-to-work/WISH-2005a/ELAB-WISH-2005a",
        "# Elaboration WISH-2005a\n\n## Acceptance Criteria\n- other\n",
    )
    put(tmp_path, "ready-to-work/WISH-2005a/PROOF-WISH-2005a", text("WISH-2005a", "status: done"))
    put(tmp_path, "ready-to-work/WISH-2005a/QA-VERIFY-WISH-2005a", text("WISH-2005a", "doc_type: qa_verify"))
    put(tmp_path, "ready-to-work/WISH-2005a/CONTEXT", "words\n")
    put(tmp_path, "ready-to-work/WISH-2005a/elaboration.yaml", "story_id: WISH-2005a\nverdict: PASS\n")
    put(tmp_path, "ready-to-work/WISH-2005a/copy/WISH-2005a", main)
    put(tmp_path, "ready-to-work/WISH-2005a/_implementation/PLAN", text("X-1"))
    put(tmp_path, "done/B-1/README", "# B-1: Read me\n\n**Status:** completed\n")
    put(tmp_path, "done/B-1/notes", text("B-1"))
    backlog = read_folder(tmp_path)
    stories = by_id(backlog)
    assert {story.id: story.path for story in backlog.stories} == {
        "WISH-2005a": "ready-to-work/WISH-2005a/WISH-2005a.md",
        "B-1": "done/B-1/README.md",
    }
    assert (stories["WISH-2005a"].status, stories["B-1"].status) == (FileStatus.READY, FileStatus.DONE)
    assert messages(backlog, "error") == []
    assert len(messages(backlog, "warning")) == 1
    assert "the folder counts" in messages(backlog, "warning")[0]
    assert set(kinds(backlog).values()) == {"companion"}
    assert len(kinds(backlog)) == 7


def test_the_same_story_in_two_lanes_is_an_error_that_names_both(tmp_path: Path) -> None:
    put(tmp_path, "backlog/A-1/A-1", text("A-1"))
    put(tmp_path, "uat/A-1/A-1", text("A-1"))
    put(tmp_path, "ready/A-2", text("A-2", "depends_on: A-1"))
    backlog = read_folder(tmp_path)
    assert sorted(backlog.held_back()) == ["A-1"]
    [message] = messages(backlog, "error")
    assert "backlog/A-1/A-1.md and uat/A-1/A-1.md" in message


INDEX = """# Stories

| Story | Feature | Blocked By |
|---|---|---|
| A-1 | From the table | \u2014 |
| A-2 | Also there | A-1 |
| A-3 | Only in the table | A-2 |

### A-1: From the index

**Status:** in-progress
**Depends On:** A-2
**Goal:** the goal
**Phase:** 2

**Acceptance Criteria:**
- from the index

### A-2: Only in the index

**Status:** ready
**Depends On:** none
"""


def test_an_index_fills_only_what_a_storys_own_file_lacks(tmp_path: Path) -> None:
    put(tmp_path, "stories.index", INDEX)
    put(tmp_path, "ready/A-1", "---\nid: A-1\ntitle: Own\ndepends_on: []\nacceptance_criteria: [own]\n---\n")
    backlog = read_folder(tmp_path)
    stories = by_id(backlog)
    assert list(stories) == ["A-1", "A-2", "A-3"]
    own = stories["A-1"]
    assert (own.title, own.status, own.depends_on, own.acceptance_criteria) == ("Own", FileStatus.READY, (), ("own",))
    assert (own.goal, own.extra) == ("the goal", {"Phase": 2})
    assert (stories["A-2"].title, stories["A-2"].depends_on) == ("Only in the index", ())
    assert (stories["A-3"].title, stories["A-3"].depends_on) == ("Only in the table", ("A-2",))
    assert messages(backlog, "error") == []
    assert any("says 'in-progress'" in message for message in messages(backlog, "warning"))
    backlog = read_folder(tmp_path)
    assert sum("own file counts" in message for message in messages(backlog, "warning")) == 1


def test_an_index_in_another_case_is_the_same_story(tmp_path: Path) -> None:
    put(tmp_path, "stories.index", "### wish-1: Title\n\n**Goal:** g\n")
    put(tmp_path, "WISH-1", text("WISH-1"))
    backlog = read_folder(tmp_path)
    assert [(story.id, story.goal) for story in backlog.stories] == [("WISH-1", "g")]
    assert backlog.problems == ()


def test_two_sections_or_rows_with_one_id_are_duplicates(tmp_path: Path) -> None:
    put(tmp_path, "a.index", "### A-1: x\n**Status:** ready\n### A-1: y\n**Status:** ready\n")
    put(tmp_path, "b.index", "| ID | Title | Status |\n|---|---|---|\n| B-1 | x | ready |\n| B-1 | y | ready |\n")
    backlog = read_folder(tmp_path)
    assert sorted(backlog.held_back()) == ["A-1", "B-1"]
    assert "a.index.md (2 times)" in " ".join(messages(backlog, "error"))


def test_a_yaml_beside_the_story_fills_it_and_a_broken_one_harms_nobody(tmp_path: Path) -> None:
    put(tmp_path, "ready/A-1/A-1", text("A-1"))
    put(tmp_path, "ready/A-1/story.yaml", "id: A-1\ntitle: other\nstatus: ready\npriority: P0\nwave: 3\n")
    put(tmp_path, "ready/A-2/A-2", text("A-2"))
    put(tmp_path, "ready/A-2/story.yaml", "id: A-2\ntasks: [\n")
    put(tmp_path, "ready/A-3/story.yaml", "id: A-3\ntasks: [\n")
    backlog = read_folder(tmp_path)
    one = by_id(backlog)["A-1"]
    assert (one.title, one.priority, one.extra) == ("Title of A-1", 1, {"wave": 3})
    assert len(messages(backlog, "error")) == 1
    assert messages(backlog, "error")[0].startswith("ready/A-3/story.yaml: not YAML")


def test_epics_in_one_yaml_file_with_a_dependency_on_a_milestone(tmp_path: Path) -> None:
    put(
        tmp_path,
        "plan.yaml",
        "epics:\n- id: E-1\n  milestones:\n"
        "  - id: M-1\n    tasks:\n    - {id: T-1, title: a}\n    - {id: T-2, title: b}\n"
        "  - id: M-2\n    depends_on: M-1\n    tasks:\n    - {id: T-3, title: c}\n",
    )
    backlog = read_folder(tmp_path)
    assert by_id(backlog)["T-3"].depends_on == ("T-1", "T-2")
    assert messages(backlog, "error") == []


def test_a_chain_of_a_thousand_files_is_read_whole(tmp_path: Path) -> None:
    for number in range(1000):
        put(tmp_path, f"S-{number}", text(f"S-{number}", f"depends_on: [S-{number - 1}]" if number else "tags: [x]"))
    backlog = read_folder(tmp_path)
    assert len(backlog.stories) == 1000
    assert backlog.problems == ()


def test_the_examples_of_the_users_page_are_read_as_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "stories.md").read_text("utf-8")
    blocks = re.findall(r"^```(markdown|yaml)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert [kind for kind, _ in blocks] == ["markdown", "markdown", "yaml"]
    put(tmp_path, "AUTH-2", blocks[0][1])
    put(tmp_path, "stories.index", blocks[1][1])
    put(tmp_path, "epics.yaml", blocks[2][1])
    put(tmp_path, "AUTH-1", text("AUTH-1", "status: done"))
    backlog = read_folder(tmp_path)
    stories = by_id(backlog)
    assert sorted(stories) == ["AUTH-1", "AUTH-2", "AUTH-3", "AUTH-4"]
    assert stories["AUTH-2"].acceptance_criteria[0] == "POST /login: answers 200 with a session cookie"
    assert (stories["AUTH-3"].depends_on, stories["AUTH-3"].acceptance_criteria) == (
        ("AUTH-2",),
        ("The session is gone",),
    )
    assert (stories["AUTH-4"].priority, stories["AUTH-4"].depends_on) == (2, ("AUTH-2",))
    assert backlog.problems == ()
