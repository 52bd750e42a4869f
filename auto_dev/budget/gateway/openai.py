"""What OpenAI's two protocols share: service tiers, and where it is them who are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import auto_dev.budget.gateway.plans as plans
from auto_dev.budget.gateway.bodies import Body
from auto_dev.budget.gateway.errors import RefusedError
from auto_dev.budget.gateway.plans import Call, not_metered
from auto_dev.budget.gateway.usage import UsageError
from auto_dev.budget.prices import STANDARD, Terms

HOST: Final = "api.openai.com"
_TIERS: Final = ("priority", "fast", "flex")
_DEFAULT: Final[Terms] = {"service_tier": "default"}


def model_of(call: Call) -> tuple[str, str]:
    """The request's model, and the name under which it is priced."""
    model = plans.model_name(call.body.get("model"))
    return model, plans.priced_as("openai", model, call.prices)


def terms_of(call: Call, name: str) -> Terms:
    """What the request's price depends on; "auto", which may be anything, becomes the default."""
    body = call.body
    # How long a cache is kept may have a price that no public table has; its default has not.
    body.pop("prompt_cache_retention", None)
    tier = body.get("service_tier")
    if tier in (None, "auto", "default"):
        if call.prices.has_terms(name, _DEFAULT):
            body["service_tier"] = "default"
        return STANDARD
    if tier not in _TIERS:
        raise RefusedError("service_tier is none of auto, default, flex, priority and fast")
    return {"service_tier": str(tier)}


def billed_terms(shape: Mapping[str, Any], asked: Terms) -> Terms:
    """The terms under which an answer was made. Raises UsageError."""
    tier = shape.get("service_tier")
    if tier is None or tier == "auto":
        return asked
    if tier in ("default", "standard", "on_demand"):
        return STANDARD
    if tier in _TIERS:
        return {"service_tier": str(tier)}
    raise UsageError(f"the service tier {str(tier)[:40]!r} is not known")


def image_tokens(model: str) -> int:
    """The most that one picture becomes: 36 tiles of 5,667 tokens scaled to 768 pixels for 4o-mini, else patches."""
    return 50_000 if "4o-mini" in model else 25_000


def image(url: object) -> object:
    """The data of a picture that stands in the request itself."""
    return url if isinstance(url, str) and url.startswith("data:") else None


def refuse(body: Body, reasons: Mapping[str, str]) -> None:
    """Raises RefusedError for the first key of ``reasons`` that the body sets."""
    for key, why in reasons.items():
        if plans.given(body.get(key)):
            raise not_metered(key, why)
