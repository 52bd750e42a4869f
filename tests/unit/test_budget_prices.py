"""What requests cost, and which requests have no price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import data_snapshot
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.agents.base import Usage
from auto_dev.budget.meter import Metered
from auto_dev.budget.prices import STANDARD, PriceTable, Spent, Tokens, checked_usage, price_table
from auto_dev.config import PriceConfig
from auto_dev.errors import BudgetError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 2, 9, 12, tzinfo=UTC)
LATE = datetime(2026, 11, 20, 12, tzinfo=UTC)  # the list has tiers from October 2026 on
SONNET = "claude-sonnet-4-5"  # 3 in, 15 out, 0.3 cache read, 3.75 and 6 cache write; 6 and 22.5 above 200,000 tokens


def table(**overrides: PriceConfig) -> PriceTable:
    return price_table(overrides, lambda: NOW)


def worst(prices: PriceTable, model: str, tokens: int, output: int) -> int:
    rates = prices.rates(model, tokens, [STANDARD], NOW, writes="any", media=False)
    return Metered(model, tokens, output, 0).worst_microusd(rates, output, 0)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Tokens(1_000_000, 0), 6_000_000),
        (Tokens(100_000, 1_000), 300_000 + 15_000),
        (Tokens(200_000, 0), 600_000),
        (Tokens(200_001, 0), 1_200_006),
        (Tokens(1_000, 10, cache_read=900), 300 + 270 + 150),
        (Tokens(1_000, 10, cache_read=900, cache_write=100), 270 + 375 + 150),
        (Tokens(1, 0, cache_read=1), 1),  # 0.3 micro-dollars, rounded up
    ],
)
def test_a_request_costs_what_the_table_says(usage: Tokens, cost: int) -> None:
    assert table().cost_microusd(SONNET, usage) == cost


def test_the_usage_that_agents_report_fits() -> None:
    assert table().cost_microusd(SONNET, Usage(input=1000, output=10, cache_read=900)) == 720


@pytest.mark.parametrize(
    ("tokens", "output", "most"),
    [
        (0, 1_000, 15_000),
        (1_000, 0, 6_000),  # all of it written to the cache for an hour
        (200_001, 1_000, 2_400_012 + 22_500),  # the higher tier counts for every token
    ],
)
def test_the_worst_case_takes_the_dearest_rate_that_may_apply(tokens: int, output: int, most: int) -> None:
    assert worst(table(), SONNET, tokens, output) == most


@pytest.mark.parametrize(
    "name",
    [
        "anthropic:claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "Claude-Sonnet-4-5", " claude-sonnet-4-5 ",
        "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-latest",
        "bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", "openrouter/anthropic/claude-sonnet-4.5",
    ],
)  # fmt: skip
def test_a_model_is_known_by_its_usual_names(name: str) -> None:
    assert table().cost_microusd(name, Tokens(1000, 0)) in (3_000, 3_300)  # some regions cost 10 % more


@pytest.mark.parametrize("name", ["openai/gpt-5", "openai:gpt-5-2025-08-07", "azure_openai:gpt-5", "gpt-5-codex"])
def test_other_providers_are_known_too(name: str) -> None:
    assert table().cost_microusd(name, Tokens(1000, 100)) == 1_250 + 1_000


@pytest.mark.parametrize("name", ["google_genai:gemini-2.5-pro", "models/gemini-2.5-pro"])
def test_gemini_is_known_as_its_api_and_langchain_write_it(name: str) -> None:
    assert table().cost_microusd(name, Tokens(1000, 100)) == 1_250 + 1_000


@pytest.mark.parametrize(
    "name",
    ["", " ", ":", "/", "claude", "gpt-99", "scripted", "anthropic:",
     "my-proxy/gpt-5", "claude-\x00\ud800", "x" * 10_000],
)  # fmt: skip
def test_a_model_without_a_price_is_refused_and_the_message_says_how_to_set_one(name: str) -> None:
    for call in (
        lambda: table().check(name),
        lambda: worst(table(), name, 1, 1),
        lambda: table().cost_microusd(name, Tokens(1, 1)),
    ):
        with pytest.raises(BudgetError, match=r"no price is known for the model .*\[budget\.prices\.") as refused:
            call()
        assert len(str(refused.value)) < 500


def test_a_model_without_a_price_for_tokens_is_refused() -> None:
    names = [
        model.id
        for provider in data_snapshot.get_snapshot().providers
        if provider.id == "openai"
        for model in provider.models
        if not (model.get_prices(NOW).input_mtok and model.get_prices(NOW).output_mtok)
    ]
    assert names
    for name in names:
        with pytest.raises(BudgetError, match="no price is known"):
            table().check(f"openai:{name}")


def test_the_owners_price_comes_before_the_table_and_covers_a_name_with_provider() -> None:
    own = {"Claude-Sonnet-4-5": PriceConfig(input=1, output=2), "local": PriceConfig(input=0, output=0)}
    mine = price_table(own, lambda: NOW)
    assert mine.cost_microusd("anthropic:claude-sonnet-4-5", Tokens(1000, 1000)) == 3_000
    assert worst(mine, "claude-sonnet-4-5", 1000, 1000) == 3_000
    assert mine.cost_microusd("claude-sonnet-4-5", Tokens(1000, 0, cache_read=1000)) == 1_000
    assert mine.cost_microusd("ollama:local", Tokens(1000, 1000)) == 0


def test_the_owners_price_for_one_provider_covers_only_that() -> None:
    mine = price_table({"openai/gpt-5": PriceConfig(input=100, output=100)}, lambda: NOW)
    assert mine.cost_microusd("openai/gpt-5", Tokens(1000, 0)) == 100_000
    assert mine.cost_microusd("gpt-5", Tokens(1000, 0)) == 1_250


def test_the_owners_cache_prices_count() -> None:
    mine = table(m=PriceConfig(input=1, output=1, cache_read=0.1, cache_write=2))
    assert mine.cost_microusd("m", Tokens(1000, 0, cache_read=500, cache_write=500)) == 50 + 1000
    assert worst(mine, "m", 1000, 0) == 2_000


def test_prices_are_those_of_the_time_of_the_request() -> None:
    # The list has a price of o3 that fell on 10 June 2025.
    early, late = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
    costs = [table().cost_microusd("o3", Tokens(1000, 0), at) for at in (early, late)]
    assert costs[0] > costs[1]


@dataclass
class Claimed:
    input: Any = 10
    output: Any = 10
    cache_read: Any = 0
    cache_write: Any = 0


@pytest.mark.parametrize(
    "usage",
    [
        Claimed(input=-1), Claimed(output=-1), Claimed(input=float("nan")), Claimed(output=float("inf")),
        Claimed(input=1.5), Claimed(input="7"), Claimed(input=True), Claimed(input=None), Claimed(cache_read=11),
        Claimed(cache_read=6, cache_write=5), Claimed(input=10**30), Claimed(output=2**63), Claimed(input=0, output=5),
        Claimed(input=0, output=0),
    ],
)  # fmt: skip
def test_a_usage_that_cannot_be_true_is_refused(usage: Claimed) -> None:
    with pytest.raises(BudgetError, match="token"):
        checked_usage(usage)
    with pytest.raises(BudgetError, match="token"):
        table().cost_microusd(SONNET, usage)


@pytest.mark.parametrize("tokens", [-1, 10**30, float("nan"), 1.0, True, None])
def test_a_request_of_no_sensible_size_is_refused(tokens: Any) -> None:
    with pytest.raises(BudgetError, match="whole number"):
        worst(table(), SONNET, tokens, 1)


def has_price(name: str) -> bool:
    try:
        table().check(name)
    except BudgetError:
        return False  # pictures and sounds only, or an id of the list's own that no provider knows
    return True


MODELS = sorted(
    name
    for provider in data_snapshot.get_snapshot().providers
    for name in (f"{provider.id}:{model.id}" for model in provider.models)
    if provider.id in ("anthropic", "openai", "google", "aws", "deepseek", "mistral", "x-ai", "perplexity")
    and has_price(name)
)


def test_most_models_of_the_list_have_a_price() -> None:
    assert len(MODELS) > 200


# -- what the gateway asks


@pytest.mark.parametrize(
    ("model", "spent", "cost"),
    [
        (SONNET, Spent(1000, 10, cache_write=500, cache_write_1h=400), 1500 + 375 + 2400 + 150),
        (SONNET, Spent(1000, 10, searches=3), 3000 + 150 + 30_000),
        (SONNET, Spent(1000, 0, factor=Decimal("1.1")), 3300),
        ("gpt-5", Spent(1000, 0, terms={"service_tier": "flex"}), 625),
        ("gpt-5", Spent(1000, 0, terms={"service_tier": "priority"}), 2500),
        ("gemini-2.5-flash", Spent(1000, 0, audio=500), 150 + 500),
        ("gemini-2.5-flash", Spent(1000, 0, cache_read=500, audio=400, audio_read=100), 60 + 12 + 300 + 10),
    ],
)
def test_a_request_is_billed_with_all_that_it_used(model: str, spent: Spent, cost: int) -> None:
    assert table().bill_microusd(model, spent, LATE) == cost


@pytest.mark.parametrize(
    "spent",
    [
        Spent(1000, 10, cache_write=5, cache_write_1h=6), Spent(1000, 0, terms={"service_tier": "gold"}),
        Spent(10, 0, audio=11), Spent(10, 0, searches=-1), Spent(10, 0, cache_read=11), Spent(0, 5),
    ],
)  # fmt: skip
def test_what_cannot_be_billed_is_refused(spent: Spent) -> None:
    with pytest.raises(BudgetError):
        table().bill_microusd("gemini-2.5-flash" if spent.audio else SONNET, spent, LATE)


@pytest.mark.parametrize("model", ["gemini-2.5-flash-image", "gpt-audio", "gpt-realtime"])
def test_models_that_make_pictures_or_sound_are_refused(model: str) -> None:
    with pytest.raises(BudgetError, match="more than text"):
        table().rates(model, 10, [STANDARD], LATE, writes="", media=False)


def test_the_owners_price_holds_under_any_terms() -> None:
    mine = table(m=PriceConfig(input=1, output=2))
    assert mine.bill_microusd("m", Spent(1000, 0, terms={"service_tier": "gold"}), LATE) == 1000
    assert not mine.has_terms("m", {"service_tier": "default"})


@given(
    st.sampled_from(MODELS),
    st.integers(1, 1_000_000),
    st.integers(0, 200_000),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_no_bill_is_higher_than_what_was_set_aside(
    model: str, most_in: int, most_out: int, shares: tuple[float, ...]
) -> None:
    try:
        rates = table().rates(model, most_in, [STANDARD], LATE, writes="any", media=False)
    except BudgetError:
        return  # it makes more than text
    tokens = max(int(most_in * shares[0]), 1)
    read = int(tokens * shares[1])
    written = int((tokens - read) * shares[2])
    spent = Spent(tokens, int(most_out * shares[3]), read, written, int(written * shares[4]))
    most = Metered(model, most_in, most_out, 0).worst_microusd(rates, most_out, 0)
    assert 0 < table().bill_microusd(model, spent, LATE) <= most
