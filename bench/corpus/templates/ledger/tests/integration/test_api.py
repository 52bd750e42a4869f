import pytest

from ledger.api.errors import answer
from ledger.api.routes import delete_customer, get_invoice, list_invoices
from ledger.errors import ForbiddenError, InvalidError, NotFoundError


def test_lists_invoices(invoice):
    found = list_invoices([invoice] * 3, "viewer", limit=2)
    assert len(found["invoices"]) == 2


def test_the_limit_is_bounded(invoice):
    assert len(list_invoices([invoice] * 150, "viewer", limit=1000)["invoices"]) == 100
    assert len(list_invoices([invoice] * 3, "viewer", limit=0)["invoices"]) == 1


def test_an_unknown_invoice_is_not_found(invoice):
    with pytest.raises(NotFoundError):
        get_invoice([invoice], "viewer", "inv-9")


def test_only_a_manager_forgets_customers(store):
    with pytest.raises(ForbiddenError):
        delete_customer(store, "clerk", "c-1")
    assert delete_customer(store, "manager", "c-1") == {"deleted": "c-1"}


@pytest.mark.parametrize(
    ("error", "status"), [(NotFoundError("x"), 404), (ForbiddenError("x"), 403), (InvalidError("x"), 400)]
)
def test_errors_as_answers(error, status):
    assert answer(error)[0] == status
