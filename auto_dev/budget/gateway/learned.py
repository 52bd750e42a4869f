"""A closer bound of the input, from what the provider counted for the beginning of the same conversation.

A conversation grows at its end. Where a provider reported the tokens of its beginning, only what is new is reckoned in
bytes, so that of a long conversation not four times the input is set aside, and the last cents can be spent, too.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import orjson

from auto_dev.budget.gateway.plans import OVERHEAD, Plan

_MANY: Final = 4096  # beginnings that are remembered
_MARGIN: Final = 50  # a fiftieth more than was counted: where pieces meet, tokens may fall otherwise

# Marks that wander through a conversation, and a line that Claude Code puts first and that is another one each time.
_WANDERING: Final = (  # each begins with what can be searched for quickly
    (b"cache_control", re.compile(rb',"cache_control":\{[^{}]*\}')),
    (b"cache_control", re.compile(rb'"cache_control":\{[^{}]*\},?')),
    (b"x-anthropic-billing-header:", re.compile(rb'x-anthropic-billing-header:[^"\\]*')),
)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A request as something that a longer one may begin with: its key, and the tightened plan's bound."""

    key: bytes
    input_tokens: int


class Learned:
    """What was counted so far, by what was sent."""

    def __init__(self) -> None:
        self._counted: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()  # large requests are looked through in threads

    def beginning(self, base: str, plan: Plan) -> Beginning | None:
        """The key of ``plan``'s request, and the least bound of its input that is known; None if nothing is learned."""
        if plan.talk is None or plan.metered.searches:
            return None
        try:
            chain, sizes = _chain(base, plan)
        except (TypeError, ValueError):  # what orjson does not write is rare enough to be reckoned in bytes
            return None
        bound = plan.metered.input_tokens
        for index in range(len(chain) - 1, -1, -1):
            if (counted := self._recall(chain[index])) is not None:
                rest = plan.talk.look(plan.talk.items[index:])
                if not rest.unbounded:
                    new = max(sum(sizes[index:]) - rest.media_bytes, 0) + rest.media_tokens
                    bound = min(bound, counted + counted // _MARGIN + new + OVERHEAD)
                break
        return Beginning(chain[-1], bound)

    def learn(self, beginning: Beginning, tokens: int) -> None:
        """The provider counted so many tokens of input for that very request."""
        with self._lock:
            self._counted[beginning.key] = tokens
            self._counted.move_to_end(beginning.key)
            if len(self._counted) > _MANY:
                self._counted.popitem(last=False)

    def _recall(self, key: bytes) -> int | None:
        with self._lock:
            if (counted := self._counted.get(key)) is not None:
                self._counted.move_to_end(key)
            return counted


def tightened(plan: Plan, beginning: Beginning | None) -> Plan:
    """``plan`` with the closer bound."""
    if beginning is None or beginning.input_tokens >= plan.metered.input_tokens:
        return plan
    return replace(plan, metered=replace(plan.metered, input_tokens=beginning.input_tokens))


def _chain(base: str, plan: Plan) -> tuple[list[bytes], list[int]]:
    """A digest for nothing, one, two … of the items after the head, and each item's bytes."""
    assert plan.talk is not None
    head = blake2b(
        base.encode() + b"\0" + _lasting(orjson.dumps(plan.talk.head)) + plan.metered.model.encode(), digest_size=16
    )
    chain, sizes = [head.digest()], []
    for item in plan.talk.items:
        text = orjson.dumps(item)
        sizes.append(len(text) + 1)
        head.update(b"\0" + _lasting(text))
        chain.append(head.digest())
    return chain, sizes


def _lasting(text: bytes) -> bytes:
    """``text`` without what wanders."""
    for mark, pattern in _WANDERING:
        if mark in text:
            text = pattern.sub(b"", text)
    return text
