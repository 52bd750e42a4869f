import json
from pathlib import Path

import pytest

from ledger.invoices import Invoice, Line
from ledger.money import Money
from ledger.storage import MemoryStore

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def store():
    made = MemoryStore()
    for row in json.loads((FIXTURES / "customers.json").read_text()):
        made.put("customers", row["id"], {"name": row["name"], "email": row["email"], "forgotten": False})
    return made


@pytest.fixture
def invoice():
    return Invoice("inv-1", "c-1", "EUR").add(Line("Chair", Money(4990, "EUR"), 2))
