"""The dialogs that a button opens: a text for an answer, or why there is nothing to answer any more. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from auto_dev.notify import blocks
from auto_dev.notify.slack_desk import Asked
from auto_dev.text import line

CALLBACK: Final = "decide"
FIELD: Final = "answer"  # both the block's and the input's id
MAX_TEXT: Final = 3000

_FOR: Final[Mapping[str, str]] = {
    "retry_hint": "What should the agent know? It gets your words as they are.",
    "resume": "What should the agent know? It gets your words as they are.",
    "choose": "Your answer, as the agent gets it.",
    "waive": "Why is it all right? Your reason stands in the pull request.",
    "criteria": "One acceptance criterion a line.",
    "raise_budget": "The new limit in US dollars, such as 25.",
}


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": blocks.plain(text, limit), "emoji": False}


def text_dialog(asked: Asked) -> dict[str, Any]:
    """The dialog that asks for the words of an answer. It carries the names of decision and option, nothing else."""
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": json.dumps({"decision": asked.decision, "option": asked.option}),
        "title": _plain("Your answer", 24),
        "submit": _plain("Send", 24),
        "close": _plain("Cancel", 24),
        "blocks": [
            *blocks.section(line(asked.question, 1000)),
            {
                "type": "input",
                "block_id": FIELD,
                "label": _plain(asked.label, 150),
                "hint": _plain(_FOR.get(asked.action, "Your words go with the answer."), 150),
                "element": {
                    "type": "plain_text_input",
                    "action_id": FIELD,
                    "multiline": True,
                    "min_length": 1,
                    "max_length": MAX_TEXT,
                    "focus_on_load": True,
                },
            },
        ],
    }


def notice(text: str) -> dict[str, Any]:
    """A dialog that only says something."""
    return {
        "type": "modal",
        "title": _plain("Nothing was changed", 24),
        "close": _plain("Close", 24),
        "blocks": blocks.section(text) or blocks.section("There is nothing to answer."),
    }
