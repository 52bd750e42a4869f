"""A small store in memory, with the interface of the real one."""

from __future__ import annotations

import copy


class MemoryStore:
    def __init__(self) -> None:
        self._tables: dict[str, dict[str, dict[str, object]]] = {}

    def put(self, table: str, key: str, row: dict[str, object]) -> None:
        self._tables.setdefault(table, {})[key] = copy.deepcopy(row)

    def get(self, table: str, key: str) -> dict[str, object] | None:
        row = self._tables.get(table, {}).get(key)
        return copy.deepcopy(row) if row is not None else None

    def delete(self, table: str, key: str) -> bool:
        return self._tables.get(table, {}).pop(key, None) is not None

    def all(self, table: str) -> dict[str, dict[str, object]]:
        return copy.deepcopy(self._tables.get(table, {}))

    def truncate(self, table: str) -> None:
        """Only for tests: empties a table."""
        self._tables[table] = {}
