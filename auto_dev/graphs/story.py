"""The story graph: wiring only.

prepare → baseline → estimate → plan ─┬→ implement → verify ─┬→ review ─┬→ publish → report → END
             │           │            │       ↑        │     │    │     │
             └───────────┴── ask ─────┘       └ repair ┴─────┴────┴─ ask┘
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from langgraph.graph import END, START, StateGraph

from auto_dev.model import Phase
from auto_dev.nodes.ask import ask
from auto_dev.nodes.baseline import baseline
from auto_dev.nodes.context import RunContext
from auto_dev.nodes.estimate import estimate
from auto_dev.nodes.implement import implement
from auto_dev.nodes.plan import plan
from auto_dev.nodes.prepare import prepare
from auto_dev.nodes.publish import publish
from auto_dev.nodes.repair import repair
from auto_dev.nodes.report import report
from auto_dev.nodes.review import review
from auto_dev.nodes.state import ASK, PROCEED, REPAIR, STOP, StoryState
from auto_dev.nodes.step import step
from auto_dev.nodes.verify import verify

StoryGraph = StateGraph[StoryState, RunContext, Any, Any]


def build() -> StoryGraph:
    """The story graph, not compiled: the runner gives each run its own saver."""
    graph: StoryGraph = StateGraph(StoryState, context_schema=RunContext)
    graph.add_node("prepare", step("prepare", Phase.PREPARE, 2, prepare))
    graph.add_node("baseline", step("baseline", Phase.PREPARE, 5, baseline))
    graph.add_node("estimate", step("estimate", Phase.PLAN, 10, estimate))
    graph.add_node("plan", step("plan", Phase.PLAN, 12, plan, spends=True))
    graph.add_node("implement", step("implement", Phase.IMPLEMENT, 20, implement, spends=True))
    graph.add_node("verify", step("verify", Phase.VERIFY, 70, verify))
    graph.add_node("repair", step("repair", Phase.IMPLEMENT, 70, repair))
    graph.add_node("review", step("review", Phase.REVIEW, 85, review, spends=True))
    graph.add_node("publish", step("publish", Phase.PUBLISH, 92, publish))
    graph.add_node("report", step("report", Phase.PUBLISH, 98, report))
    graph.add_node("ask", ask)
    graph.add_edge(START, "prepare")
    _route(graph, "prepare", "baseline")
    _route(graph, "baseline", "estimate")
    _route(graph, "estimate", "plan")
    _route(graph, "plan", "implement")
    _route(graph, "implement", "verify")
    _route(graph, "verify", "review", repairs=True)
    _route(graph, "repair", "implement")
    _route(graph, "review", "publish", repairs=True)
    _route(graph, "publish", "report")
    _route(graph, "report", END)
    targets = ("prepare", "baseline", "estimate", "plan", "implement", "verify", "review", "publish", "report")
    ways: dict[Hashable, str] = {STOP: END, **{name: name for name in targets}}
    graph.add_conditional_edges("ask", _next, ways)
    return graph


def _route(graph: StoryGraph, node: str, after: str, *, repairs: bool = False) -> None:
    ways: dict[Hashable, str] = {PROCEED: after, ASK: "ask"}
    if repairs:
        ways[REPAIR] = "repair"
    graph.add_conditional_edges(node, _next, ways)


def _next(state: StoryState) -> str:
    return state["route"]
