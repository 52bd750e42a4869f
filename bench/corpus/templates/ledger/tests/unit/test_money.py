import pytest

from ledger.errors import InvalidError
from ledger.money import Money, parse


def test_adds_amounts_of_one_currency():
    assert Money(150, "EUR") + Money(50, "EUR") == Money(200, "EUR")


def test_refuses_to_mix_currencies():
    with pytest.raises(InvalidError, match="cannot be combined"):
        Money(1, "EUR") + Money(1, "USD")


@pytest.mark.parametrize(
    ("amount", "numerator", "denominator", "expected"),
    [(100, 1, 3, 33), (5, 1, 2, 3), (101, 50, 100, 51), (0, 7, 9, 0)],
)
def test_rounds_half_up(amount, numerator, denominator, expected):
    assert Money(amount, "EUR").times(numerator, denominator).amount == expected


def test_split_keeps_every_cent():
    shares = Money(100, "EUR").split(3)
    assert [share.amount for share in shares] == [34, 33, 33]
    assert sum(share.amount for share in shares) == 100


def test_split_needs_a_part():
    with pytest.raises(InvalidError):
        Money(100, "EUR").split(0)


@pytest.mark.parametrize(
    ("money", "text"),
    [(Money(1250, "EUR"), "12.50 EUR"), (Money(7, "JPY"), "7 JPY"), (Money(-5, "EUR"), "-0.05 EUR")],
)
def test_shows_the_digits_of_the_currency(money, text):
    assert str(money) == text


def test_parses_what_it_shows():
    assert parse("12.50 EUR") == Money(1250, "EUR")
    assert parse("7 JPY") == Money(7, "JPY")


@pytest.mark.parametrize("text", ["", "12", "12.505 EUR", "x EUR", "1 XXX"])
def test_refuses_what_is_no_amount(text):
    with pytest.raises(InvalidError, match="not an amount"):
        parse(text)
