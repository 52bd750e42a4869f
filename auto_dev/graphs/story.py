"""The story graph: wiring only.

prepare → baseline → estimate → plan ─┬→ implement → verify ─┬→ review ─┬→ publish → report → END
             │           │            │       ↑        │     │    │     │
             └───────────┴── ask ─────┘       └ repair ┴─────┴────┴─ ask┘

A follow-up of an open pull request goes the same way, from where its branch stands. `publish` sends work back to
`baseline` when what it stands on was merged or rewritten meanwhile: it is moved, and judged there.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

from langgraph.graph import END, START, StateGraph

from auto_dev.errors import ConfigError
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
from auto_dev.nodes.state import AGAIN, ASK, PROCEED, REPAIR, STOP, StoryState
from auto_dev.nodes.step import GraphNode, step
from auto_dev.nodes.verify import verify

StoryGraph = StateGraph[StoryState, RunContext, Any, Any]


AFTER: Final[Mapping[str, str]] = {
    "prepare": "baseline", "baseline": "estimate", "estimate": "plan", "plan": "implement", "implement": "verify",
    "verify": "review", "repair": "implement", "review": "publish", "publish": "report", "report": END,
}  # fmt: skip
_REPAIRS: Final = ("verify", "review")  # these may send the work back
_JUDGED_AGAIN: Final = "publish"  # what the story stands on may have moved under it, or its pull request be over


def build(inserted: Mapping[str, tuple[str, GraphNode]] | None = None) -> StoryGraph:
    """The story graph, not compiled: the runner gives each run its own saver.

    ``inserted`` brings in a project's own nodes: after which of the shipped ones, the new one's name, and the node
    (see ``step``). It is passed wherever the run proceeds from that place, also when a person waived what stopped it.
    """
    own = dict(inserted or {})
    if unknown := sorted(set(own) - set(AFTER) | {"repair", "report"} & set(own)):
        raise ConfigError(f"nothing can be inserted after {unknown[0]!r}", where="run.graph")
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
    # A person's answer names the node that comes next; what was inserted before that one comes first.
    ways: dict[Hashable, str] = {STOP: END, **{name: name for name in AFTER if name != "repair"}}
    for place, after in AFTER.items():
        if place in own:
            name, node = own[place]
            graph.add_node(name, node)
            _route(graph, name, after)
            ways |= {name: name, after: name}
        then = own[place][0] if place in own else after
        _route(graph, place, then, repairs=place in _REPAIRS, again=place == _JUDGED_AGAIN)
    graph.add_conditional_edges("ask", _next, ways)
    return graph


def _route(graph: StoryGraph, node: str, after: str, *, repairs: bool = False, again: bool = False) -> None:
    ways: dict[Hashable, str] = {PROCEED: after, ASK: "ask"}
    if repairs:
        ways[REPAIR] = "repair"
    if again:
        ways |= {REPAIR: "repair", AGAIN: "baseline", STOP: END}
    graph.add_conditional_edges(node, _next, ways)


def _next(state: StoryState) -> str:
    return state["route"]
