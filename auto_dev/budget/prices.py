"""What a model request costs, in whole micro-dollars, always rounded up: a cost is never booked as less than it is.

Prices come from genai-prices, or from ``[budget.prices]`` where the owner set them. A model without a known price is
refused, and so is one that the public table lists as free: only the owner may say that a model costs nothing.
All tokens are priced as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final, Protocol

from auto_dev.budget.limits import checked_amount
from auto_dev.config import PriceConfig
from auto_dev.errors import BudgetError
from auto_dev.model import MICRO
from auto_dev.text import line

if TYPE_CHECKING:  # 0.6 s and 1.5 MB of tables: loaded when the first price is needed
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

MAX_TOKENS: Final = 10**9
_MANY: Final = 1000  # names that an agent may make us remember

# Any of these may be what an input or output token is billed at; which one is only known afterwards.
_INPUT_RATES = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
_OUTPUT_RATES = ("output_mtok", "output_reasoning_mtok")


class TokenUsage(Protocol):
    """Tokens of one request. ``input`` is the total, cache reads and writes included."""

    @property
    def input(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def cache_read(self) -> int: ...
    @property
    def cache_write(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """A plain TokenUsage."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0


Terms = Mapping[str, str]
"""What a price depends on beside the model, as the public table names it: ``{"service_tier": "priority"}``."""

STANDARD: Final[Terms] = {}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request used. ``input`` is the total; the caches and ``audio`` are parts of it.

    ``cache_write_1h`` is a part of ``cache_write``, ``audio_read`` one of ``audio`` and ``cache_read``. ``factor``
    multiplies the price (regions that cost more).
    """

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio: int = 0
    audio_read: int = 0
    searches: int = 0
    terms: Terms = field(default_factory=dict)
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Rates:
    """The dearest that may apply to a request: micro-dollars per token of input and output, per search, per request."""

    input: Decimal
    output: Decimal
    search: Decimal
    request: Decimal


class PriceTable:
    """Prices of models by name, with or without a provider in front (``anthropic:…``, ``openai/…``).

    ``overrides`` are the owner's prices; a name without provider also covers the same name with one. ``clock`` gives
    the time of a request for prices that change with it, where the caller does not say it.
    """

    def __init__(self, overrides: Mapping[str, PriceConfig], clock: Callable[[], datetime]) -> None:
        self._overrides = {name.strip().lower(): price for name, price in overrides.items()}
        self._clock = clock
        self._found: dict[str, ModelInfo | None] = {}  # a name's search through the list takes up to 0.3 ms

    def now(self) -> datetime:
        """The time at which a request that is made now is priced."""
        return self._clock()

    def rates(
        self, model: str, input_tokens: int, terms: Iterable[Terms], at: datetime, *, writes: str, media: bool
    ) -> Rates:
        """The dearest rates of a request of at most ``input_tokens``, under any of ``terms``.

        ``writes`` tells which cache writes are possible: "" none, "5m", or "any". ``media``: pictures, sound or
        documents are in it. Raises BudgetError for an unknown model, for terms without a known price, and for models
        that make pictures or sound.
        """
        _count(input_tokens, "input tokens")
        rates = []
        for each in terms:
            price = self._price(model, at, each)
            if unmetered := [key for key in _keys(price, "output_") if key not in (*_OUTPUT_RATES, "output_text_mtok")]:
                raise BudgetError(
                    f"the model {line(model, 80)!r} makes more than text ({unmetered[0]}), which is not metered"
                )
            rates.append(
                Rates(
                    max(_dearest(getattr(price, key), input_tokens) for key in _input_keys(price, writes, media)),
                    max(_dearest(getattr(price, key), input_tokens) for key in _OUTPUT_RATES),
                    _dearest(price.web_searches_kcount, input_tokens) * 1000,
                    _dearest(price.requests_kcount, input_tokens) * 1000,
                )
            )
        return Rates(*(max(getattr(rate, name) for rate in rates) for name in ("input", "output", "search", "request")))

    def bill_microusd(self, model: str, spent: Spent, at: datetime) -> int:
        """What a request cost. Raises BudgetError for unknown prices and for a usage that cannot be true."""
        from genai_prices import Usage

        checked_usage(spent)
        for name in ("cache_write_1h", "audio", "audio_read", "searches"):
            _count(getattr(spent, name), name)
        price = self._price(model, at, spent.terms)
        if spent.searches and price.web_searches_kcount is None:
            raise BudgetError(f"the price of a web search is not known for {line(model, 80)}")
        optional = {
            "cache_write_1h_tokens": spent.cache_write_1h,
            "input_audio_tokens": spent.audio,
            "cache_audio_read_tokens": spent.audio_read,
            "web_searches": spent.searches,
        }
        try:
            result = price.calc_price(
                Usage(
                    input_tokens=spent.input,
                    output_tokens=spent.output,
                    cache_read_tokens=spent.cache_read,
                    cache_write_tokens=spent.cache_write,
                    **{key: value for key, value in optional.items() if value},
                )
            )
        except ValueError as error:
            raise BudgetError(line(str(error)), where=f"the usage of {line(model, 80)}") from None
        return _rounded_up(result["total_price"] * spent.factor)

    def has_terms(self, model: str, terms: Terms) -> bool:
        """Whether the public table (not the owner) prices ``model`` under ``terms``."""
        name = model.strip().lower()
        return self._own(name) is None and (info := self._info(name)) is not None and _has(info, terms, self._clock())

    def known(self, model: str) -> bool:
        """Whether ``model`` has a price of the owner's or an entry in the public table."""
        name = model.strip().lower()
        return self._own(name) is not None or self._info(name) is not None

    def context_window(self, model: str) -> int | None:
        """The most input tokens that the model takes, where the public table knows it."""
        info = self._info(model.strip().lower())
        return info.context_window if info else None

    def cost_microusd(self, model: str, usage: TokenUsage, at: datetime | None = None) -> int:
        """What a request cost; cache writes at the provider's standard duration.

        Raises BudgetError for an unknown model and for a usage that cannot be true.
        """
        from genai_prices import Usage

        tokens = checked_usage(usage)
        price = self._price(model, at)
        try:
            result = price.calc_price(
                Usage(
                    input_tokens=tokens.input,
                    output_tokens=tokens.output,
                    cache_read_tokens=tokens.cache_read,
                    cache_write_tokens=tokens.cache_write,
                )
            )
        except ValueError as error:
            raise BudgetError(line(str(error)), where=f"the usage of {line(model, 80)}") from None
        return _rounded_up(result["total_price"])

    def check(self, model: str) -> None:
        """Raises BudgetError when the model has no known price."""
        self._price(model, None)

    def _own(self, name: str) -> PriceConfig | None:
        for known in (name, _split(name)[1]):
            if (own := self._overrides.get(known)) is not None:
                return own
        return None

    def _info(self, name: str) -> ModelInfo | None:
        if name not in self._found:
            if len(self._found) >= _MANY:
                self._found.clear()
            self._found[name] = _listed(name)
        return self._found[name]

    def _price(self, model: str, at: datetime | None, terms: Terms = STANDARD) -> ModelPrice:
        name = model.strip().lower()
        if (own := self._own(name)) is not None:
            return _own_price(own)
        at = at or self._clock()
        shown = line(model, 80)
        info = self._info(name)
        price = info.get_prices(at, terms) if info else None
        if info is None or price is None or not (price.input_mtok and price.output_mtok):
            raise BudgetError(
                f"no price is known for the model {shown!r}, so nothing may be spent on it",
                mend=f'Set its price in auto-dev.toml: [budget.prices."{shown}"] with input = and output = '
                "(US dollars per million tokens).",
            )
        if terms and not _has(info, terms, at):
            asked = ", ".join(f"{key} = {value}" for key, value in terms.items())
            raise BudgetError(
                f"no price is known for the model {shown!r} with {line(asked, 80)}, so nothing may be spent on it so",
                mend=f'Set its price in auto-dev.toml: [budget.prices."{shown}"] with input = and output = '
                "(US dollars per million tokens).",
            )
        return price


def price_table(overrides: Mapping[str, PriceConfig], clock: Callable[[], datetime]) -> PriceTable:
    """The prices of a project: the public table with the owner's ``overrides`` on top."""
    return PriceTable(overrides, clock)


def checked_usage(usage: TokenUsage) -> Tokens:
    """``usage`` if it can be true. Raises BudgetError.

    Numbers of tokens are whole and not negative, caches are part of the input, and a request always has input.
    """
    tokens = Tokens(usage.input, usage.output, usage.cache_read, usage.cache_write)
    for name in ("input", "output", "cache_read", "cache_write"):
        _count(getattr(tokens, name), f"{name} tokens")
    if tokens.input == 0:
        raise BudgetError("the usage has no input tokens")
    if tokens.cache_read + tokens.cache_write > tokens.input:
        raise BudgetError(
            f"the usage has more cached tokens ({tokens.cache_read} read, {tokens.cache_write} written) "
            f"than input tokens ({tokens.input})"
        )
    return tokens


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:
        raise BudgetError(f"the number of {what} is not a whole number between 0 and {MAX_TOKENS}: {str(value)[:40]}")
    return value


def _dearest(rate: Decimal | TieredPrices | None, input_tokens: int) -> Decimal:
    """The highest rate that a request of at most ``input_tokens`` can be billed at. Dollars per unit."""
    if rate is None or isinstance(rate, Decimal):
        return rate or Decimal(0)
    return max(rate.base, *(tier.price for tier in rate.tiers if tier.start < input_tokens), Decimal(0))


def _rounded_up(dollars: Decimal) -> int:
    return checked_amount(int((dollars * MICRO).to_integral_value(rounding=ROUND_CEILING)), "the cost of the request")


def _own_price(own: PriceConfig) -> ModelPrice:
    """The owner's price; a cache rate that is not set is the input rate."""
    from genai_prices.types import ModelPrice

    def rate(dollars: float | None) -> Decimal:
        return Decimal(str(own.input if dollars is None else dollars))

    return ModelPrice(
        input_mtok=rate(own.input),
        output_mtok=rate(own.output),
        cache_read_mtok=rate(own.cache_read),
        cache_write_mtok=rate(own.cache_write),
    )


def _split(name: str) -> tuple[str, str]:
    """A provider in front of a model's name, and the rest: ``openai/gpt-5``, ``anthropic:claude-…``."""
    for index, letter in enumerate(name):
        if letter in ":/":
            return name[:index], name[index + 1 :]
    return "", name


def _input_keys(price: ModelPrice, writes: str, media: bool) -> list[str]:
    """The rates that a token of input may be billed at."""
    keys = [key for key in _INPUT_RATES if not key.startswith("cache_write") or writes]
    if writes == "5m":
        keys.remove("cache_write_1h_mtok")
    return keys + ([key for key in _keys(price, "input_", "cache_") if key not in _INPUT_RATES] if media else [])


def _keys(price: ModelPrice, *prefixes: str) -> list[str]:
    return [key for key, rate in vars(price).items() if rate and key.startswith(prefixes) and key.endswith("_mtok")]


def _has(info: ModelInfo, terms: Terms, at: datetime) -> bool:
    """Whether a variant of the price is made for ``terms``; without one the table would take the standard price."""
    return any(
        all(terms.get(key) == value for key, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _listed(name: str) -> ModelInfo | None:
    """The public table's entry for ``name``, or None."""
    from genai_prices import data_snapshot

    snapshot = data_snapshot.get_snapshot()
    provider, rest = _split(name)
    if provider == "models":  # Gemini's API lists its models as models/NAME
        provider, rest = "", rest.removeprefix("models/")
    known = data_snapshot.find_provider_by_id(snapshot.providers, provider) if provider else None
    try:
        if known is not None:
            return snapshot.find_provider_model(rest, known, None, None)[1]
        # An unknown word in front may be a proxy with prices of its own, so it is not simply left out.
        return snapshot.find_provider_model(name if provider else rest, None, None, None)[1]
    except LookupError:
        return None
