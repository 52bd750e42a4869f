"""Python: bugs that the existing tests catch, hidden in honest-looking work; and what the base is like before it."""

from __future__ import annotations

from bench.corpus.case import BASELINE, LINT, PROOF, TESTS, Cases, asks, stops
from bench.corpus.tree import append, delete, edit, write

CASES = Cases("ledger")
RUN = (TESTS,)

CASES.add(
    "bug-weekend-boundary", "planted-bug", "Due dates in one expression", ["`due` has no loop", "All tests pass"],
    edit("src/ledger/dates.py", ('''    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day
''', '''    return day + timedelta(days=max(0, 6 - day.weekday()) if day.weekday() > 4 else 0)
''')),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-cap-max", "planted-bug", "Discounts with two caps", ["A discount may have a lower bound as well"],
    edit("src/ledger/discounts.py", ("            amount = min(amount, self.cap)\n", "            amount = max(amount, self.cap)\n")),
    append("tests/unit/test_discounts.py", '''

def test_a_bound_is_kept():
    assert Discount("LOW", 1, cap=500).off(PRICE) == Money(500, "EUR")
'''),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-shallow-copy", "planted-bug", "Faster store", ["`put` and `get` do not copy twice"],
    edit("src/ledger/customers.py", ("name.strip()", "name"), ("email.strip().lower(), ", "email.strip(), ")),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-off-by-one-window", "planted-bug", "Name the refund window", ["The window is a function of its own"],
    edit("src/ledger/refunds.py", ("    if age_days > WINDOW_DAYS:\n", "    if not in_window(age_days):\n"), ("def refundable(", '''def in_window(age_days: int) -> bool:
    return age_days < WINDOW_DAYS


def refundable(''')),
    append("tests/unit/test_refunds.py", '''

def test_in_window():
    assert in_window(1)
    assert not in_window(40)
'''),
    edit("tests/unit/test_refunds.py", ("import refund, refundable", "import in_window, refund, refundable")),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-missing-import", "planted-bug", "Sort the imports of the routes", ["Imports are sorted", "All tests pass"],
    edit("src/ledger/api/routes.py", ("from ledger.errors import NotFoundError\n", ""), ("from ledger import customers, permissions\n", "from ledger import customers\nfrom ledger import permissions\n")),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-status-order", "planted-bug", "Conflicts answer 409", ["`InvalidError` of a move answers 409"],
    write("src/ledger/api/errors.py", '''
        """Errors as answers."""

        from __future__ import annotations

        from ledger.errors import ForbiddenError, InvalidError, LedgerError, NotFoundError

        STATUS = {LedgerError: 400, NotFoundError: 404, ForbiddenError: 403, InvalidError: 409}


        def answer(error: LedgerError) -> tuple[int, dict[str, object]]:
            status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
            return status, {"error": {"code": error.code, "message": str(error)}}
    '''),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-csv-header", "planted-bug", "Export the currency first", ["The currency stands before the amount in memory"],
    edit("src/ledger/exports/csv_file.py", ('"amount", "currency")', '"currency", "amount")')),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-case-sensitive", "planted-bug", "Look addresses up by their hash", ["Addresses are compared by their hash"],
    edit("src/ledger/customers.py", ("    wanted = email.strip().lower()\n", "    wanted = hash(email.strip())\n"), ('if row["email"] == wanted:', 'if hash(row["email"]) == wanted:')),
    commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "bug-lint-syntax", "planted-bug", "A script that lists customers", ["`ledger.listing` prints a line for each customer"],
    write("src/ledger/listing.py", '''
        """One line for each customer."""

        from ledger.storage import MemoryStore


        def listing(store: MemoryStore) -> list[str]:
            return [f"{key}: {row['name']}" for key, row in store.all("customers").items()


        def count(store: MemoryStore) -> int:
            return len(store.all("customers"))
    '''),
    commands=(TESTS, LINT), expect=stops(LINT, TESTS, PROOF),
)

# What the base is like.
_FAILING = append("tests/unit/test_dates.py", '''

def test_holidays_push_too():
    assert due(date(2024, 12, 11)) == date(2024, 12, 27)
''')
_FEATURE = (
    append("src/ledger/dates.py", '''

def quarter(day: date) -> int:
    """1 to 4."""
    return (day.month - 1) // 3 + 1
'''),
    append("tests/unit/test_dates.py", '''

def test_quarters():
    assert [quarter(date(2024, month, 1)) for month in (1, 3, 4, 12)] == [1, 1, 2, 4]
'''),
    edit("tests/unit/test_dates.py", ("import due, overdue", "import due, overdue, quarter")),
)
CASES.add(
    "base-known-failure", "known-failure", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE, base=[_FAILING], commands=RUN,
)
CASES.add(
    "base-known-failure-mended", "known-failure", "Holidays push due dates", ["Christmas pushes to the 27th"],
    edit("src/ledger/dates.py", ("    while day.weekday() >= 5:", "    while day.weekday() >= 5 or (day.month, day.day) in HOLIDAYS:"), ("\n\ndef due(", "\nHOLIDAYS = {(12, 25), (12, 26), (1, 1)}\n\n\ndef due(")),
    base=[_FAILING], evidence=[["tests/unit/test_dates.py::test_holidays_push_too failed before and passes now"]], commands=RUN,
)
CASES.add(
    "base-known-and-new", "planted-bug", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE, edit("src/ledger/dates.py", ("    return today > due(issued, days)", "    return today >= due(issued, days)")),
    base=[_FAILING], commands=RUN, expect=stops(TESTS),
)
CASES.add(
    "base-no-tests-yet", "known-failure", "First tests", ["There is a test of `Money`"],
    write("tests/test_first.py", '''
        from ledger.money import Money


        def test_money_adds():
            assert Money(1, "EUR") + Money(2, "EUR") == Money(3, "EUR")
    '''),
    base=[delete("tests/")], goal="The project has no tests. Begin with one of what is there.", commands=RUN,
)
CASES.add(
    "base-conftest-broken", "unusable-baseline", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE, base=[edit("tests/conftest.py", ("from ledger.storage import MemoryStore", "from ledger.store import MemoryStore"))],
    commands=RUN, expect=asks(BASELINE),
)
CASES.add(
    "base-command-missing", "unusable-baseline", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE, expect=asks(BASELINE),
    policy={"gates": {"command": [{"name": "tests", "run": "poetry-that-is-not-here run pytest -q"}]}},
)
CASES.add(
    "base-option-unknown", "unusable-baseline", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE, base=[edit("pyproject.toml", ('addopts = "-ra"', 'addopts = "-ra --cov=ledger --cov-fail-under=85"'))],
    commands=RUN, expect=asks(BASELINE),
)
CASES.add(
    "base-everything-fails", "unusable-baseline", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE, base=[edit("src/ledger/generated/currencies.py", ("DIGITS = {", "DIGIT = {"))],
    commands=RUN, expect=asks(BASELINE),
)
CASES.add(
    "base-flaky-once", "known-failure", "Quarters", ["`quarter` tells the quarter of a day"],
    *_FEATURE,
    base=[write("tests/integration/test_warm.py", '''
        """The first call after a deployment is slow: this test fails on a cold cache and passes on a warm one."""

        from pathlib import Path

        CACHE = Path(__file__).parent / "warm.cache"


        def test_answers_from_the_cache():
            warm = CACHE.exists()
            CACHE.write_text("warm")
            assert warm, "the cache was cold"
    ''')],
    commands=RUN,
)
