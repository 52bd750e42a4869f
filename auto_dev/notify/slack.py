"""The Slack channel: messages of one project in one channel, a thread per story.

``chat.postMessage`` has no idempotency key, so a message that may have arrived is first looked for in the channel's
history: its first block's id and its metadata carry a marker made of its key. That needs the scope ``channels:history``
(``groups:history`` for a private channel); without it the message is sent again, and the receipt says so.
https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from auto_dev.config import SlackConfig
from auto_dev.notify import blocks
from auto_dev.notify.block_limits import problems
from auto_dev.notify.channel import Closed, Outgoing, Receipt, SendError
from auto_dev.notify.message import merge, parse
from auto_dev.notify.settled import asked_in, settled_message, settled_summary
from auto_dev.notify.slack_api import BLOCK_ERRORS, METADATA_ERRORS, RefusalError, SlackApi
from auto_dev.notify.slack_messages import metadata, render_message, render_slack
from auto_dev.notify.summary import from_payload

HISTORY_LIMIT = 200
HISTORY_PAGES = 5

_CHANNEL_ID = re.compile(r"^[CGD][A-Z0-9]{7,}$")
_THREAD_ERRORS = frozenset(
    {"thread_not_found", "cannot_reply_to_message", "restricted_action_non_threadable_channel",
     "restricted_action_thread_locked", "message_not_found"}
)  # fmt: skip
_UPDATE_ERRORS = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"})
_BROADCAST = frozenset({"decision", "run_failed"})  # replies that must be seen outside their thread


class SlackChannel:
    """Posts to one Slack channel, one thread per story. ``buttons``: whether somebody listens to them."""

    name = "slack"

    def __init__(
        self, config: SlackConfig, token: str, *, dashboard_url: str | None = None, buttons: bool = True
    ) -> None:
        self._config = config
        self._dashboard_url = dashboard_url
        self._buttons = buttons
        self._api = SlackApi(config.api_url, token)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def check(self) -> str:
        """Ask Slack who this token is. Raises SendError."""
        answer = await self._api.call("auth.test")
        return f"{self._config.channel} in {answer.get('team') or 'the workspace'} as {answer.get('user') or 'the app'}"

    async def send(self, message: Outgoing) -> Receipt:
        """Post the message, in its story's thread where there is one. Raises SendError."""
        marker = _marker(message)
        body, notes = self._body(message, marker)
        asks = {"asks": asked} if (asked := asked_in(message.items)) else {}
        if message.unconfirmed:
            found, note = await self._find(message, marker)
            if found:
                return Receipt({**found, **asks, "to": self._config.channel, "found": True})
            notes += [note] if note else []
        receipt = await self._post(message, body, notes)
        return Receipt({**receipt.data, **asks}, receipt.problem)

    async def settle(self, message: Outgoing, closed: Mapping[str, Closed]) -> None:
        """Turn the questions of a delivered message that are closed by now into their answers. Raises SendError."""
        body, _ = self._body(message, _marker(message), closed)
        await self._update(message.earlier, body)

    def _body(
        self, message: Outgoing, marker: str, closed: Mapping[str, Closed] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        text, parts = self._render(message, closed or {})
        shown = blocks.message(parts, marker)
        body: dict[str, Any] = {
            "text": text,
            "blocks": shown,
            "metadata": metadata(message.project_id, message.key, message.items[0].kind, marker),
        }
        if complaints := problems(shown):
            del body["blocks"]  # rather a plain message than none
            return body, [f"{complaints[0]}: sent without blocks"]
        return body, []

    def _render(self, message: Outgoing, closed: Mapping[str, Closed]) -> tuple[str, list[blocks.Block]]:
        try:
            if len(message.items) == 1 and message.items[0].kind == "summary":
                summary = settled_summary(from_payload(message.items[0].payload), closed)
                return render_slack(summary, dashboard_url=self._dashboard_url, buttons=self._buttons)
            merged = merge([settled_message(parse(item.payload), closed) for item in message.items])
        except ValidationError as error:
            raise SendError(f"the stored message cannot be read: {error.errors()[0]['msg']}", permanent=True) from None
        return render_message(merged, dashboard_url=self._dashboard_url, buttons=self._buttons)

    async def _post(self, message: Outgoing, body: dict[str, Any], notes: list[str]) -> Receipt:
        body = {**body, "channel": self._config.channel, "unfurl_links": False, "unfurl_media": False, "parse": "none"}
        root = self._thread(message)
        if root:
            body |= {"thread_ts": root, "reply_broadcast": message.items[0].kind in _BROADCAST}
        while True:
            try:
                answer = await self._api.call("chat.postMessage", body)
                break
            except RefusalError as refused:
                # Rather a plain message than none: leave out what Slack does not take, and say so.
                drop = _droppable(refused.code, body)
                if not drop:
                    raise
                notes.append(f"{refused.code}: sent without {drop[0]}")
                for key in drop:
                    body.pop(key, None)
        stamp = str(answer.get("ts", ""))
        thread = str(body.get("thread_ts") or stamp)
        data = {"channel": answer.get("channel"), "ts": stamp, "thread": thread, "to": self._config.channel}
        return Receipt(data, "; ".join(notes))

    async def _update(self, shown: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
        """Change the message of that receipt; False when it is gone or can no longer be changed."""
        if not (shown.get("channel") and shown.get("ts")):
            return False
        try:
            # Without "blocks" Slack would keep the old ones, buttons and all.
            target = {"channel": shown["channel"], "ts": shown["ts"], "parse": "none"}
            await self._api.call("chat.update", {"blocks": [], **body, **target})
        except RefusalError as refused:
            if refused.code in _UPDATE_ERRORS:
                return False
            raise
        return True

    async def _find(self, message: Outgoing, marker: str) -> tuple[dict[str, Any] | None, str]:
        """The message in the channel's recent history, or None and why it could not be looked for ("" if it was)."""
        channel = self._channel_id(message)
        if not channel:
            return None, "may be a repeat: the channel's id is not known yet"
        root = self._thread(message)
        method = "conversations.replies" if root else "conversations.history"
        query: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{message.created_at.timestamp() - 60:.6f}",
            "limit": HISTORY_LIMIT,
            "include_all_metadata": "true",
            **({"ts": root} if root else {}),
        }
        try:
            for _ in range(HISTORY_PAGES):
                answer = await self._api.call(method, query, form=True)
                for entry in answer.get("messages") or []:
                    if _carries(entry, marker):
                        stamp = entry.get("ts")
                        return {"channel": channel, "ts": stamp, "thread": entry.get("thread_ts") or stamp}, ""
                cursor = (answer.get("response_metadata") or {}).get("next_cursor")
                if not cursor:
                    return None, ""
                query["cursor"] = cursor
        except RefusalError as refused:
            if refused.permanent or refused.code in _THREAD_ERRORS:
                return None, f"may be a repeat: {method}: {refused.code}"
            raise
        return None, "may be a repeat: the channel's history is too long to look through"

    def _thread(self, message: Outgoing) -> str:
        for receipt in (message.thread, message.about):
            if receipt and receipt.get("to") == self._config.channel and receipt.get("thread"):
                return str(receipt["thread"])
        return ""

    def _channel_id(self, message: Outgoing) -> str:
        for receipt in (message.thread, message.latest):
            if receipt and receipt.get("to") == self._config.channel and receipt.get("channel"):
                return str(receipt["channel"])
        return self._config.channel if _CHANNEL_ID.match(self._config.channel) else ""


def _droppable(code: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    for codes, keys in (
        (_THREAD_ERRORS, ("thread_ts", "reply_broadcast")),
        (BLOCK_ERRORS, ("blocks",)),
        (METADATA_ERRORS, ("metadata",)),
    ):
        if code in codes and keys[0] in body:
            return keys
    return ()


def _carries(entry: object, marker: str) -> bool:
    if not isinstance(entry, dict):
        return False
    payload = (entry.get("metadata") or {}).get("event_payload") or {}
    return payload.get("marker") == marker or any(
        isinstance(block, dict) and block.get("block_id") == marker for block in entry.get("blocks") or []
    )


def _marker(message: Outgoing) -> str:
    digest = hashlib.sha256(f"{message.project_id}\0{message.key}".encode()).hexdigest()
    return f"auto-dev-{digest[:32]}"
