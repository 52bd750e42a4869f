"""A scripted model server: speaks the wire formats of the real model services, and keeps a record of every request.

In a test:

    async with ModelServer(story) as server:      # or any other scenario, or a Script
        ... server.url ...                        # for ANTHROPIC_BASE_URL; + "/v1" for OpenAI
        assert server.record.cost_microusd == ...

As a process: ``python tests/model_server/server.py --port 0 --script FILE --record FILE`` prints its URL as its first
line. FILE is JSON (see ``script.py``) or Python with a function ``scenario(asked) -> Answer``.
"""

from tests.model_server.answer import Answer, Call, Tokens
from tests.model_server.asked import Asked
from tests.model_server.record import Entry, Record
from tests.model_server.scenarios import echo, say, spend, story, words
from tests.model_server.script import Script
from tests.model_server.server import ModelServer

__all__ = [
    "Answer",
    "Asked",
    "Call",
    "Entry",
    "ModelServer",
    "Record",
    "Script",
    "Tokens",
    "echo",
    "say",
    "spend",
    "story",
    "words",
]
