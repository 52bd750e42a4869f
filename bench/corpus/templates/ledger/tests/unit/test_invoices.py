import pytest

from ledger.errors import InvalidError
from ledger.invoices import Invoice, Line
from ledger.money import Money


def test_the_total_is_the_sum_of_its_lines(invoice):
    more = invoice.add(Line("Table", Money(19900, "EUR")))
    assert invoice.total == Money(9980, "EUR")
    assert more.total == Money(29880, "EUR")


def test_only_a_draft_can_be_changed(invoice):
    sent = invoice.move("open")
    with pytest.raises(InvalidError, match="only a draft"):
        sent.add(Line("Lamp", Money(100, "EUR")))


def test_an_invoice_has_one_currency(invoice):
    with pytest.raises(InvalidError, match="one currency"):
        invoice.add(Line("Lamp", Money(100, "USD")))


@pytest.mark.parametrize(("before", "after"), [("draft", "open"), ("open", "paid"), ("open", "void")])
def test_moves_that_are_allowed(before, after):
    assert Invoice("i", "c", "EUR", status=before).move(after).status == after


@pytest.mark.parametrize(("before", "after"), [("paid", "draft"), ("void", "open"), ("draft", "paid")])
def test_moves_that_are_not(before, after):
    with pytest.raises(InvalidError):
        Invoice("i", "c", "EUR", status=before).move(after)
