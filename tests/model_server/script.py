"""A script in JSON: which scenario, and what goes wrong with which request.

{"scenario": "story" | "say" | "echo" | "spend" | "spend-same",
 "say": "the text of say",
 "answer": {…}                       fields of Answer, over every answer: {"pause_s": 0.1, "usage": {"input": 9, …}}
 "faults": [{"at": 2, "status": 429, "headers": {"retry-after": "1"}},     the third request (they count from 0)
            {"from": 5, "to": 8, "status": 529}, {"every": 10, "cut_after": 3}],
 "keys": ["sk-real"]                 other keys are answered with 401
}
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.model_server.answer import Answer, Tokens
from tests.model_server.asked import Asked
from tests.model_server.scenarios import Scenario, echo, over, say, spend, story

_ANSWER = frozenset(f.name for f in fields(Answer))


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario with faults. It is a scenario itself."""

    scenario: Scenario = story
    faults: tuple[Mapping[str, Any], ...] = ()
    keys: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def read(cls, path: Path) -> Script:
        """From a .json or a .py file."""
        if path.suffix == ".py":
            spec = importlib.util.spec_from_file_location("model_server_script", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return cls(module.scenario, keys=frozenset(getattr(module, "KEYS", ())))
        return cls.of(json.loads(path.read_text("utf-8")))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Script:
        """From what is in a JSON file. Raises ValueError for a word that does not exist."""
        if unknown := set(given) - {"scenario", "say", "answer", "faults", "keys"}:
            raise ValueError(f"a script has no {sorted(unknown)}")
        named: dict[str, Scenario] = {
            "story": story,
            "say": say(given.get("say", "Done.")),
            "echo": echo,
            "spend": spend(),
            "spend-same": spend(same=True),
        }
        scenario = named[given.get("scenario", "story")]
        if changes := _changes(given.get("answer") or {}):
            scenario = over(scenario, changes)
        return cls(scenario, tuple(given.get("faults") or ()), frozenset(given.get("keys") or ()))

    async def __call__(self, asked: Asked) -> Answer:
        answer = self.scenario(asked)
        if not isinstance(answer, Answer):
            answer = await answer
        for fault in self.faults:
            if _hits(fault, asked.number):
                changes = _changes({k: v for k, v in fault.items() if k in _ANSWER})
                made = {f.name: getattr(answer, f.name) for f in fields(Answer)}
                answer = Answer(**(made | changes))
        return answer


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    changes = dict(given)
    if isinstance(usage := changes.get("usage"), Mapping):
        changes["usage"] = Tokens(**usage)
    return changes


def _hits(fault: Mapping[str, Any], number: int) -> bool:
    if "at" in fault:
        return bool(number == fault["at"])
    if "every" in fault:
        return bool((number + 1) % fault["every"] == 0)
    return bool(fault.get("from", 0) <= number < fault.get("to", 1 << 62))
