"""Which files belong to the tests, so that they can be put on another commit without the code that they test."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from auto_dev.gates.syntax.suite import is_test_name

# "testing" is left out: packages of that name are often part of the product.
_FOLDERS: Final = frozenset(
    (
        *("tests", "test", "__tests__", "spec", "specs", "e2e", "cypress"),
        *("testdata", "test_data", "test-data", "test_helpers", "test-helpers", "test_utils", "test-utils"),
        *("fixtures", "__fixtures__", "__snapshots__", "__mocks__"),
    )
)
_SUPPORT: Final = re.compile(
    r"^(?:conftest\.py|pytest\.ini|\.?pytest\.toml|tox\.ini|phpunit\.xml[\w.]*|\.rspec|\.mocharc[\w.]*|[\w.-]+\.snap"
    r"|(?:jest|vitest|playwright|karma|ava|cypress|mocha|wdio)\.(?:conf(?:ig)?|setup|workspace)[\w.]*"
    r"|(?:setup[-_]?tests?|test[-_]?(?:setup|utils|helpers?))\.\w+)$",
    re.IGNORECASE,
)


def belongs_to_tests(path: str) -> bool:
    """Whether ``path`` is a test file or something that only tests use: a fixture, a helper, a snapshot, a setting."""
    name = posixpath.basename(path)
    if is_test_name(path) or _SUPPORT.match(name):
        return True
    return not _FOLDERS.isdisjoint(part.lower() for part in path.split("/")[:-1])
