import pytest

from ledger.discounts import Discount, best
from ledger.errors import InvalidError
from ledger.money import Money

PRICE = Money(1999, "EUR")


def test_takes_a_percentage_off():
    assert Discount("TEN", 10).off(PRICE) == Money(200, "EUR")


def test_a_cap_limits_what_is_taken_off():
    assert Discount("HALF", 50, cap=500).off(PRICE) == Money(500, "EUR")


def test_the_best_discount_wins():
    price = best(PRICE, [Discount("TEN", 10), Discount("HALF", 50, cap=500), Discount("FIVE", 5)])
    assert price == Money(1499, "EUR")


def test_without_discounts_the_price_stays():
    assert best(PRICE, []) == PRICE


@pytest.mark.parametrize("percent", [0, -5, 101])
def test_refuses_percentages_that_are_none(percent):
    with pytest.raises(InvalidError):
        Discount("BAD", percent)
