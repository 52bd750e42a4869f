"""What names stand for, and how long what is looped over is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from auto_dev.gates.syntax.canon import called, canonical
from auto_dev.gates.syntax.claims import value_of
from auto_dev.gates.syntax.code import (
    Bind,
    Call,
    Expr,
    Function,
    Group,
    Member,
    Name,
    Unit,
    leaf,
    walk,
)
from auto_dev.gates.syntax.dialect import Dialect
from auto_dev.gates.syntax.here import Here
from auto_dev.gates.syntax.suite import MANY


class Values:
    """The names of one file and of the test that is followed."""

    def __init__(self, unit: Unit, dialect: Dialect, helpers: Mapping[str, Function]) -> None:
        self.unit = unit
        self.dialect = dialect
        self.helpers = helpers
        self.module = Here()
        for statement in unit.body:
            if isinstance(statement, Bind) and not any(name in unit.imports for name in statement.names):
                self.bound(statement, self.module)

    def begin(self) -> Here:
        """The start of a test: only the file's own names are known."""
        return replace(self.module, names=dict(self.module.names), values=dict(self.module.values), local={})

    @staticmethod
    def bound(node: Bind, here: Here) -> None:
        if node.value is None:
            return
        text = canonical(node.value, here.names)
        alone = len(node.names) == 1 and not node.targets
        for index, name in enumerate(node.names):
            if not name or name == "_":
                continue
            here.names[name] = text if alone else f"{text}.{index}"
            if alone:
                here.values[name] = node.value
            else:
                here.values.pop(name, None)

    def uses(self, node: Expr | None, here: Here, apart: Expr | None = None) -> frozenset[str]:
        """The functions that are called for the value of ``node``, also where it was bound to a name before.

        Names that stand in ``apart`` too are only what both sides of a comparison look at.
        """
        if node is None:
            return frozenset()
        shared = {part.name for part in walk(apart) if isinstance(part, Name)} if apart is not None else set[str]()
        found = called(node)
        for part in walk(node):
            if isinstance(part, Name) and part.name in here.values and part.name not in shared:
                found |= called(here.values[part.name])
        return found

    def resolve(self, node: Expr | None, here: Here) -> Expr | None:
        """What a name stands for, where it was bound to one thing."""
        for _ in range(4):
            if not isinstance(node, Name) or node.name not in here.values:
                break
            node = here.values[node.name]
        return node

    def length(self, node: Expr, here: Here) -> tuple[int, int]:
        """How many items there are to loop over: exactly for a literal, else between one and many."""
        found = self.resolve(node, here)
        if isinstance(found, Group) and found.whole:
            return len(found.items), len(found.items)
        if isinstance(found, Call):
            name = leaf(found.function)
            count = value_of(found.argument(0)) if name == "range" and len(found.arguments) == 1 else None
            if count is not None:
                times = min(max(int(count), 0), MANY * MANY)
                return times, times
            if name in (
                "enumerate",
                "sorted",
                "list",
                "tuple",
                "reversed",
                "set",
                "items",
                "entries",
                "values",
                "product",
            ):
                owner = found.function.owner if isinstance(found.function, Member) and not found.arguments else None
                inner = owner or found.argument(0)
                return self.length(inner, here) if inner is not None else (1, MANY)
            if name in ("iter", "into_iter", "iter_mut", "concat", "slice", "keys") and isinstance(
                found.function, Member
            ):
                return self.length(found.function.owner, here)
        return 1, MANY
