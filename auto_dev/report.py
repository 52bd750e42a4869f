"""The report that every agent leaves at ``$AUTO_DEV_REPORT``: a claim, never a verdict.

A missing or broken report is not a success: the confidence counts as unknown and the confidence gate asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CriterionClaim(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    criterion: str
    evidence: list[str] = []


class DecisionWish(BaseModel):
    """A question that the agent wants a person to answer. ``tier`` 1 clarification … 5 external effects."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    question: str
    options: list[str] = []
    recommended: str | None = None
    tier: Annotated[int, Field(ge=1, le=5)] = 3


class Report(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    summary: str = ""
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    criteria: list[CriterionClaim] = []
    decisions: list[DecisionWish] = []
    blocked: str | None = None


def read_report(path: Path) -> tuple[Report | None, str]:
    """The report at ``path`` and "" — or ``None`` and what is wrong with it, in one line."""
    raise NotImplementedError
