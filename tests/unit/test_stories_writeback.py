"""Only the status changes."""

from __future__ import annotations

import pytest

from auto_dev.stories.writeback import with_status

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nid: A\nstatus: ready\n---\nbody status: ready\n", "---\nid: A\nstatus: done\n---\nbody status: ready\n"),
        ("---\nid: A\nstatus: 'ready'  # go\n---\n", "---\nid: A\nstatus: done  # go\n---\n"),
        ("---\nid: A\n---\nx", "---\nid: A\nstatus: done\n---\nx"),
        ("---\r\nid: A\r\nStatus: ready\r\n---\r\nx\r\n", "---\r\nid: A\r\nStatus: done\r\n---\r\nx\r\n"),
        ("---\nid: A\nstatus:\n---\n", "---\nid: A\nstatus: done\n---\n"),
        ("# A: title\n\n**Status:** ready\n", None),
        ("---\nid: A\nstatus: ready\n", None),
    ],
)
def test_only_the_status_of_the_frontmatter_changes(text: str, expected: str | None) -> None:
    assert with_status(text, "done") == expected
