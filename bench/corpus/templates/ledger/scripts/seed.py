"""Fill a local database with something to look at."""

from ledger.money import Money
from ledger.storage import MemoryStore


def main() -> None:
    store = MemoryStore()
    for number in range(20):
        store.put("invoices", f"inv-{number}", {"amount": 100 * number, "currency": "EUR"})
    print(len(store.all("invoices")), Money(0, "EUR"))


if __name__ == "__main__":
    main()
