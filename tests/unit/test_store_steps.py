"""What is to be applied, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.errors import StoreError
from auto_dev.store.migrate import Step, digest, missing_of_jobs, missing_of_ours

pytestmark = pytest.mark.unit


def _steps(count: int) -> list[Step]:
    return [Step("auto_dev", number, f"{number:04}_x.sql", f"d{number}") for number in range(1, count + 1)]


@given(st.integers(0, 20), st.integers(0, 20))
def test_what_is_missing_follows_what_is_applied_and_a_newer_schema_is_refused(wanted: int, applied: int) -> None:
    if applied > wanted:
        with pytest.raises(StoreError, match="newer than this program"):
            missing_of_ours(_steps(wanted), _steps(applied))
    else:
        assert missing_of_ours(_steps(wanted), _steps(applied)) == _steps(wanted)[applied:]


@given(st.sets(st.integers(1, 8)))
def test_a_migration_that_was_left_out_is_still_found(applied: set[int]) -> None:
    steps = _steps(8)
    missing = missing_of_ours(steps, [step for step in steps if step.version in applied])
    assert {step.version for step in missing} == set(range(1, 9)) - applied


def test_an_edited_migration_is_named() -> None:
    with pytest.raises(StoreError, match=r"0002_x\.sql was edited"):
        missing_of_ours(_steps(3), [Step("auto_dev", 2, "0002_x.sql", "other")])


@given(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")))
def test_the_missing_job_migrations_come_in_the_librarys_order(wanted: set[str], applied: set[str]) -> None:
    done = [Step("auto_dev_jobs", number, name) for number, name in enumerate(sorted(applied))]
    if applied <= wanted:
        assert missing_of_jobs(sorted(wanted), done) == sorted(wanted - applied)
    else:
        with pytest.raises(StoreError, match="newer than the installed procrastinate"):
            missing_of_jobs(sorted(wanted), done)


@given(st.text(st.characters(exclude_characters="\r", codec="utf-8")))
def test_line_ends_do_not_change_the_digest(text: str) -> None:
    assert digest(text.replace("\n", "\r\n")) == digest(text)


def test_a_change_changes_the_digest() -> None:
    assert digest("SELECT 1") != digest("SELECT 2")
