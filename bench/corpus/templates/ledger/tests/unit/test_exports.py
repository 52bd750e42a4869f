from pathlib import Path

from ledger.exports.csv_file import export
from ledger.exports.statement import statement

FIXTURES = Path(__file__).parent.parent / "fixtures"


def test_csv_is_what_the_accountants_expect(invoice):
    assert export([invoice]) == (FIXTURES / "invoices.csv").read_text()


def test_statement_sums_what_is_open(invoice):
    text = statement("c-1", [invoice, invoice.move("open")])
    assert text.splitlines()[-1] == "open: 99.80 EUR"


def test_statement_of_nobody_is_empty(invoice):
    assert statement("c-9", [invoice]) == ""
