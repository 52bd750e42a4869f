"""Which gates judge a run: the built-in ones in their order, one for each configured command, then custom ones."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from auto_dev.config import Config
from auto_dev.errors import ConfigError
from auto_dev.gates.base import Gate
from auto_dev.gates.commands import CommandsGate
from auto_dev.gates.confidence import ConfidenceGate
from auto_dev.gates.critical import CriticalGate
from auto_dev.gates.decisions import DecisionsGate
from auto_dev.gates.empty import EmptyGate
from auto_dev.gates.integration import IntegrationGate
from auto_dev.gates.proof import ProofGate
from auto_dev.gates.scope import ScopeGate
from auto_dev.gates.secrets import SecretsGate
from auto_dev.gates.tampering import TamperingGate

GATES: Final[dict[str, Callable[[Config], Sequence[Gate]]]] = {
    "secrets": lambda _: [SecretsGate()],
    "empty": lambda _: [EmptyGate()],
    "scope": lambda _: [ScopeGate()],
    "tampering": lambda _: [TamperingGate()],
    "critical": lambda _: [CriticalGate()],
    "integration": lambda _: [IntegrationGate()],
    "commands": lambda policy: [CommandsGate(command) for command in policy.gates.command],
    "proof": lambda _: [ProofGate()],
    "decisions": lambda _: [DecisionsGate()],
    "confidence": lambda _: [ConfidenceGate()],
}
# Verdicts that other steps give under these names: before any work, on the agent's turn, by the reviewer.
ELSEWHERE: Final = ("baseline", "plan", "agent", "review")


def gates_for(policy: Config) -> list[Gate]:
    """The gates of ``policy`` in their order.

    Raises ConfigError for a custom gate that cannot be loaded, a name that stands twice, and an advisory name that no
    gate has.
    """
    gates = [gate for make in GATES.values() for gate in make(policy)]
    gates += [load_gate(path) for path in policy.gates.custom]
    taken = {*ELSEWHERE, "commands"}
    for gate in gates:
        if gate.name in taken:
            raise ConfigError(
                f"two gates are named {gate.name!r}", where="gates", mend="Give the command or gate another name."
            )
        taken.add(gate.name)
    for name in policy.gates.advisory:
        if name not in taken - {"commands"}:
            known = sorted(taken - {"commands"})
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
            raise ConfigError(f"there is no gate named {name!r}", where="gates.advisory", mend=mend)
    return gates


def load_gate(path: str) -> Gate:
    """The gate at the import string ``package:Attr``: a class without arguments, a function that makes one, or a gate.

    Raises ConfigError.
    """
    where = f"gates.custom: {path!r}"
    module, separator, attribute = path.partition(":")
    if not separator or not module.strip() or not attribute.strip():
        raise ConfigError("not an import string", where=where, mend='Write it like "my_package:MyGate".')
    try:
        found: Any = importlib.import_module(module.strip())
        for part in attribute.strip().split("."):
            found = getattr(found, part)
        gate = found() if isinstance(found, type) or not hasattr(found, "judge") else found
    except Exception as error:
        mend = "The package must be installed beside auto-dev."
        raise ConfigError(f"cannot be loaded: {type(error).__name__}: {error}", where=where, mend=mend) from error
    name = getattr(gate, "name", None)
    if not isinstance(name, str) or not name.strip() or not callable(getattr(gate, "judge", None)):
        raise ConfigError("has no name and judge(context)", where=where, mend="See docs/gates.md.")
    return gate  # type: ignore[no-any-return]
