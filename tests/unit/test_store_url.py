"""Database URLs: read, described, and never repeated with their password."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from auto_dev.errors import StoreError
from auto_dev.store.database import _refused, _with_options, describe, parse_url

pytestmark = pytest.mark.unit

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8)


@given(PASSWORDS)
def test_a_password_survives_the_parsing_and_is_in_no_description(password: str) -> None:
    conninfo = parse_url(f"postgresql://me:{quote(password, safe='')}@host:1/db")
    assert conninfo_to_dict(conninfo)["password"] == password
    assert describe(conninfo) == "PostgreSQL at host port 1, database db"


@given(st.text())
def test_any_text_is_read_or_refused_without_being_repeated(text: str) -> None:
    told = ""
    try:
        parse_url(text)
    except StoreError as error:
        told = str(error)
    assert not told or told.startswith("the database URL cannot be read. Write it like postgresql://")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://h/d", "PostgreSQL at h port 5432, database d"),
        ("postgresql://u@h:6/", "PostgreSQL at h port 6, database u"),
        ("postgresql:///d?host=/run/x%20y", "PostgreSQL at /run/x y port 5432, database d"),
        ("postgresql://", "PostgreSQL at localhost port 5432, database of the user's name"),
    ],
)
def test_a_description_names_the_place(url: str, expected: str) -> None:
    assert describe(parse_url(url)) == expected


def test_the_users_own_options_come_first_so_that_ours_win() -> None:
    conninfo = _with_options(parse_url("postgresql://h/d?options=-c%20search_path%3Dx&application_name=me"), "a, b")
    parts = conninfo_to_dict(conninfo)
    assert parts["options"] == "-c search_path=x -c search_path=a,b -c timezone=UTC"
    assert parts["application_name"] == "auto-dev"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('connection failed: connection to server on socket "/x" failed: FATAL:  no entry\n', "no entry"),
        (
            'connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs the server running there?',
            "Connection refused",
        ),
        ("", "OperationalError"),
        ("[Errno -2] Name or service not known", "[Errno -2] Name or service not known"),
    ],
)
def test_the_reason_of_a_refusal_is_one_line(text: str, reason: str) -> None:
    assert _refused(psycopg.OperationalError(text), "there").what == f"cannot use the database: {reason}"
