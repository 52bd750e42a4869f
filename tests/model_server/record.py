"""The server's own books: one entry per request, with a cost that shares no code with what is tested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from genai_prices import Usage, calc_price

from tests.model_server.answer import Tokens


@dataclass(slots=True)
class Entry:
    """One request. ``outcome``: open | complete | cut (by the server) | gone (the client left) | error | free.

    ``usage`` and ``cost_microusd`` are what a provider would bill: for a broken answer the whole input and the output
    up to the break. ``auth`` is where the key was found and the key.
    """

    number: int
    wire: str
    provider: str
    path: str
    model: str
    auth: tuple[str, str]
    stream: bool
    headers: dict[str, str]
    max_output: int | None
    outcome: str = "open"
    status: int = 0
    usage: Tokens | None = None
    tier: str = ""
    body: dict[str, Any] | None = None  # kept with keep_bodies only
    events: int = 0  # sent so far
    text: str = ""  # the answer's text and calls in short
    key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.key = self.auth[1]

    @property
    def cost_microusd(self) -> int:
        return cost_microusd(self.provider, self.model, self.usage, self.tier) if self.usage else 0

    def row(self) -> dict[str, Any]:
        """The entry for a JSONL file."""
        return asdict(self) | {"cost_microusd": self.cost_microusd}


class Record:
    """All entries, in the order in which the requests came. With a path each is appended there when it is over."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def over(self, entry: Entry) -> None:
        """The request has been answered, or broke."""
        if self._file is not None:
            self._file.write(json.dumps(entry.row(), ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    @property
    def billed(self) -> list[Entry]:
        """The requests that cost something."""
        return [entry for entry in self.entries if entry.usage is not None]

    @property
    def cost_microusd(self) -> int:
        """What all of it costs: each request rounded up on its own."""
        return sum(entry.cost_microusd for entry in self.billed)


@lru_cache(maxsize=100_000)
def cost_microusd(provider: str, model: str, tokens: Tokens, tier: str = "") -> int:
    """The exact price in decimals, rounded up to whole micro-dollars. Raises LookupError for an unknown model."""
    usage = Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_reasoning_tokens=tokens.reasoning,
    )
    context = {"service_tier": tier} if tier else None
    found = calc_price(usage, model.removeprefix("models/"), provider_id=provider, price_context=context)
    return int((found.total_price * Decimal(1_000_000)).to_integral_value(rounding=ROUND_CEILING))
