import pytest

from ledger.customers import delete_customer, find_by_email, register
from ledger.errors import NotFoundError


def test_register_cleans_name_and_email(store):
    row = register(store, "c-3", " Cy ", " CY@Example.com ")
    assert row == {"name": "Cy", "email": "cy@example.com", "forgotten": False}


def test_a_forgotten_customer_has_no_name(store):
    delete_customer(store, "c-1")
    assert store.get("customers", "c-1") == {"name": "", "email": "", "forgotten": True}


def test_who_is_unknown_cannot_be_forgotten(store):
    with pytest.raises(NotFoundError):
        delete_customer(store, "c-9")


def test_finds_by_email_whatever_the_case(store):
    assert find_by_email(store, "BO@example.com") == "c-2"
    assert find_by_email(store, "no@example.com") is None
