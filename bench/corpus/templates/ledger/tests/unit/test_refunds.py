import pytest

from ledger.errors import InvalidError
from ledger.money import Money
from ledger.refunds import refund, refundable


@pytest.fixture
def paid(invoice):
    return invoice.move("open").move("paid")


def test_all_of_a_paid_invoice_may_be_refunded(paid):
    assert refundable(paid, []) == Money(9980, "EUR")


def test_nothing_of_an_open_invoice_may_be_refunded(invoice):
    assert refundable(invoice, []) == Money(0, "EUR")


def test_a_second_refund_counts_the_first(paid):
    first = refund(paid, Money(5000, "EUR"), [], age_days=1)
    assert refundable(paid, first) == Money(4980, "EUR")


def test_more_than_was_paid_is_refused(paid):
    with pytest.raises(InvalidError, match="more than was paid"):
        refund(paid, Money(9981, "EUR"), [], age_days=1)


def test_refunds_end_after_the_window(paid):
    refund(paid, Money(1, "EUR"), [], age_days=30)
    with pytest.raises(InvalidError, match="30 days"):
        refund(paid, Money(1, "EUR"), [], age_days=31)


def test_a_refund_is_positive(paid):
    with pytest.raises(InvalidError, match="positive"):
        refund(paid, Money(0, "EUR"), [], age_days=1)
