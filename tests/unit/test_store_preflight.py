"""What makes a server unfit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auto_dev.store.preflight import Facts, problem

pytestmark = pytest.mark.unit

FIT = Facts(
    version=150004,
    encoding="UTF8",
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    read_only=False,
    database="db",
    role="me",
    may_create=True,
)


def test_a_fit_server_has_no_problem() -> None:
    assert problem(FIT) is None


@pytest.mark.parametrize("level", ["on", "local", "remote_write", "remote_apply"])
def test_every_level_that_waits_for_the_disk_is_accepted(level: str) -> None:
    assert problem(replace(FIT, synchronous_commit=level)) is None


@pytest.mark.parametrize(
    ("change", "what", "mend"),
    [
        ({"version": 149999}, "PostgreSQL 14, too old", "PostgreSQL 15 or later"),
        ({"version": 90624}, "PostgreSQL 9, too old", "PostgreSQL 15 or later"),
        ({"encoding": "SQL_ASCII"}, "encoding of database 'db' is SQL_ASCII", "CREATE DATABASE"),
        ({"fsync": "off"}, "fsync is off", "ALTER SYSTEM SET fsync = on"),
        ({"full_page_writes": "off"}, "full_page_writes is off", "ALTER SYSTEM SET full_page_writes = on"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off", "ALTER SYSTEM SET synchronous_commit = on"),
        ({"read_only": True}, "read-only", "primary"),
        ({"may_create": False}, "role 'me' may not create schemas in database 'db'", 'ON DATABASE "db" TO "me"'),
    ],
)
def test_an_unfit_server_is_told_with_its_mend(change: dict[str, Any], what: str, mend: str) -> None:
    found = problem(replace(FIT, **change))
    assert found is not None
    assert what in found[0]
    assert mend in found[1]
