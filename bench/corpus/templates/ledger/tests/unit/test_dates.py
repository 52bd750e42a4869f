from datetime import date

from ledger.dates import due, overdue


def test_due_after_two_weeks():
    assert due(date(2024, 5, 1)) == date(2024, 5, 15)


def test_weekends_push_to_monday():
    assert due(date(2024, 5, 4)) == date(2024, 5, 20)


def test_overdue_from_the_day_after():
    assert not overdue(date(2024, 5, 1), date(2024, 5, 15))
    assert overdue(date(2024, 5, 1), date(2024, 5, 16))
