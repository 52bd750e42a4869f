"""Which graph a run follows: the shipped one or the project's own, in the version that the run began with."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from auto_dev.errors import ConfigError
from auto_dev.nodes.state import GRAPH_VERSION


@cache
def load_graph(reference: str | None, version: str) -> Any:
    """The uncompiled graph of ``reference`` ("package:build", None: the shipped one).

    Raises ConfigError when it cannot be loaded, and when ``version`` is not the one that this program has: a run is
    then refused loudly rather than continued at a node that may mean something else by now.
    """
    # Here and not above: LangGraph takes over a second to import, and most commands run no graph.
    from langgraph.graph import StateGraph

    from auto_dev.graphs import story

    if version != graph_version(reference):
        raise ConfigError(
            f"this run began with graph {version}, and this program has {graph_version(reference)}",
            where="run.graph",
            mend="Finish it with the program that began it, or abort it and let the story start again.",
        )
    if reference is None:
        return story.build()
    module_name, _, attribute = reference.partition(":")
    try:
        built = getattr(importlib.import_module(module_name), attribute)()
    except Exception as error:  # whatever a project's own code raises while it is loaded, its runs wait for the mend
        raise ConfigError(
            f"{reference!r} cannot be loaded: {type(error).__name__}: {error}",
            where="run.graph",
            mend='Write it as "package.module:build"; the package must be installed beside auto-dev.',
        ) from error
    if not isinstance(built, StateGraph):
        raise ConfigError(f"{reference!r} did not build a StateGraph", where="run.graph", mend="See docs/extending.md.")
    return built


def graph_version(reference: str | None) -> str:
    """What is stored with a run to know its graph again."""
    return GRAPH_VERSION if reference is None else f"{reference} on {GRAPH_VERSION}"
