"""The Slack channel: three calls of the Web API over httpx.

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
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from auto_dev.config import SlackConfig
from auto_dev.errors import NotifyError
from auto_dev.notify import blocks
from auto_dev.notify.channel import Outgoing, Receipt, SendError, is_loopback
from auto_dev.notify.message import merge, parse
from auto_dev.notify.slack_messages import metadata, render_message, render_slack
from auto_dev.notify.summary import from_payload

TIMEOUT_S = 20.0
HISTORY_LIMIT = 200
HISTORY_PAGES = 5

_CHANNEL_ID = re.compile(r"^[CGD][A-Z0-9]{7,}$")
_TOKEN_ERRORS = frozenset(
    {"account_inactive", "invalid_auth", "not_authed", "not_allowed_token_type", "token_expired", "token_revoked"}
)
_CHANNEL_ERRORS = {
    "channel_not_found": "Check notify.slack.channel; a private channel must have the app as a member.",
    "not_in_channel": "Invite the app into the channel (/invite), or give it chat:write.public.",
    "is_archived": "Unarchive the channel, or set another notify.slack.channel.",
    "missing_scope": "Give the Slack app the scope chat:write and install it again.",
    "no_permission": "Give the Slack app the scope chat:write and install it again.",
    "access_denied": "Ask an administrator of the workspace.",
    "ekm_access_denied": "Ask an administrator of the workspace.",
    "org_login_required": "Ask an administrator of the workspace.",
    "team_access_not_granted": "Ask an administrator of the workspace.",
    "restricted_action": "Ask an administrator of the workspace to let the app post there.",
    "restricted_action_read_only_channel": "Let the app post in the channel, or set another notify.slack.channel.",
    "restricted_action_thread_only_channel": "Let the app post in the channel, or set another notify.slack.channel.",
}
_THREAD_ERRORS = frozenset(
    {"thread_not_found", "cannot_reply_to_message", "restricted_action_non_threadable_channel",
     "restricted_action_thread_locked", "message_not_found"}
)  # fmt: skip
_BLOCK_ERRORS = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_METADATA_ERRORS = frozenset(
    {"invalid_metadata_format", "invalid_metadata_schema", "metadata_must_be_sent_from_app", "metadata_too_large"}
)
_UPDATE_ERRORS = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"})
_UNSURE_ERRORS = frozenset({"fatal_error", "internal_error", "service_unavailable", "request_timeout"})
_BROADCAST = frozenset({"decision", "run_failed"})  # replies that must be seen outside their thread


class _RefusalError(SendError):
    """Slack answered ok: false; ``code`` is its error."""

    def __init__(self, code: str, **how: Any) -> None:
        super().__init__(f"Slack refused the message: {code}", **how)
        self.code = code


class SlackChannel:
    """Posts to one Slack channel, one thread per story."""

    name = "slack"

    def __init__(self, config: SlackConfig, token: str, *, dashboard_url: str | None = None) -> None:
        base = _base_url(config.api_url)
        if not token.isascii() or any(c.isspace() for c in token):
            raise NotifyError("SLACK_BOT_TOKEN is not a token", mend="It looks like xoxb-….")
        self._config = config
        self._dashboard_url = dashboard_url
        self._client = httpx.AsyncClient(
            base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, follow_redirects=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def check(self) -> str:
        """Ask Slack who this token is. Raises SendError."""
        answer = await self._call("auth.test", {})
        return f"{self._config.channel} in {answer.get('team') or 'the workspace'} as {answer.get('user') or 'the app'}"

    async def send(self, message: Outgoing) -> Receipt:
        """Post the message, or change the one that it follows up. Raises SendError."""
        text, parts = self._render(message)
        marker = _marker(message)
        body = {
            "text": text,
            "blocks": blocks.message(parts, marker),
            "metadata": metadata(message.project_id, message.key, message.items[0].kind, marker),
        }
        # One message that asked about one thing is changed in place; an answer to one of several is a reply.
        if message.about and message.about.get("of") == 1 and (receipt := await self._update(message, body)):
            return receipt
        notes: list[str] = []
        if message.unconfirmed:
            found, note = await self._find(message, marker)
            if found:
                return Receipt({**found, "to": self._config.channel, "found": True})
            notes += [note] if note else []
        return await self._post(message, body, notes)

    def _render(self, message: Outgoing) -> tuple[str, list[blocks.Block]]:
        try:
            if len(message.items) == 1 and message.items[0].kind == "summary":
                return render_slack(from_payload(message.items[0].payload), dashboard_url=self._dashboard_url)
            merged = merge([parse(item.payload) for item in message.items])
        except ValidationError as error:
            raise SendError(f"the stored message cannot be read: {error.errors()[0]['msg']}", permanent=True) from None
        return render_message(merged, dashboard_url=self._dashboard_url)

    async def _post(self, message: Outgoing, body: dict[str, Any], notes: list[str]) -> Receipt:
        body = {**body, "channel": self._config.channel, "unfurl_links": False, "unfurl_media": False, "parse": "none"}
        root = self._thread(message)
        if root:
            body |= {"thread_ts": root, "reply_broadcast": message.items[0].kind in _BROADCAST}
        while True:
            try:
                answer = await self._call("chat.postMessage", body)
                break
            except _RefusalError as refused:
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

    async def _update(self, message: Outgoing, body: Mapping[str, Any]) -> Receipt | None:
        """Change the message that this one is about; None when it can no longer be changed."""
        about = message.about or {}
        if not (about.get("channel") and about.get("ts")):
            return None
        target = {"channel": about["channel"], "ts": about["ts"]}
        try:
            await self._call("chat.update", {**body, **target, "parse": "none"})
        except _RefusalError as refused:
            if refused.code in _UPDATE_ERRORS:
                return None
            raise
        return Receipt({**target, "thread": about.get("thread", about["ts"]), "to": self._config.channel})

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
                answer = await self._call(method, query, form=True)
                for entry in answer.get("messages") or []:
                    if _carries(entry, marker):
                        stamp = entry.get("ts")
                        return {"channel": channel, "ts": stamp, "thread": entry.get("thread_ts") or stamp}, ""
                cursor = (answer.get("response_metadata") or {}).get("next_cursor")
                if not cursor:
                    return None, ""
                query["cursor"] = cursor
        except _RefusalError as refused:
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

    async def _call(self, method: str, body: Mapping[str, Any], *, form: bool = False) -> dict[str, Any]:
        try:
            if form:
                response = await self._client.post(method, data=dict(body))
            else:
                response = await self._client.post(method, json=dict(body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise SendError(f"Slack cannot be reached: {type(error).__name__}", whole_channel=True) from None
        except httpx.HTTPError as error:
            raise SendError(
                f"Slack did not answer: {type(error).__name__}", whole_channel=True, unconfirmed=True
            ) from None
        return _answer(response)


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise SendError("Slack asks to wait (429)", whole_channel=True, retry_after=_retry_after(response))
    if response.status_code >= 500:
        raise SendError(f"Slack answered {response.status_code}", whole_channel=True, unconfirmed=True)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "ok" not in answer:
        raise SendError(
            f"the answer ({response.status_code}) is not Slack's",
            mend="Check notify.slack.api_url and the proxy.",
            whole_channel=True,
            unconfirmed=response.is_success,
        )
    if answer["ok"] is True:
        return answer
    raise _classify(str(answer.get("error", "unknown_error"))[:100], response)


def _classify(code: str, response: httpx.Response) -> SendError:
    if code in ("ratelimited", "rate_limited", "message_limit_exceeded"):
        return _RefusalError(code, whole_channel=True, retry_after=_retry_after(response))
    if code in _TOKEN_ERRORS:
        mend = "Set a valid SLACK_BOT_TOKEN (xoxb-…)."
        return _RefusalError(code, mend=mend, permanent=True, whole_channel=True)
    if code in _CHANNEL_ERRORS:
        return _RefusalError(code, mend=_CHANNEL_ERRORS[code], permanent=True, whole_channel=True)
    if code in _UNSURE_ERRORS:
        return _RefusalError(code, whole_channel=True, unconfirmed=True)
    permanent = code in _BLOCK_ERRORS | _METADATA_ERRORS | {"msg_too_long", "no_text", "invalid_arguments"}
    return _RefusalError(code, permanent=permanent)


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else 30.0


def _droppable(code: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    for codes, keys in (
        (_THREAD_ERRORS, ("thread_ts", "reply_broadcast")),
        (_BLOCK_ERRORS, ("blocks",)),
        (_METADATA_ERRORS, ("metadata",)),
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


def _base_url(api_url: str) -> str:
    """``api_url`` with one slash at its end. Raises NotifyError where the token would travel in the clear."""
    parts = urlsplit(api_url)
    if parts.scheme == "https" and parts.hostname:
        return api_url.rstrip("/") + "/"
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return api_url.rstrip("/") + "/"
    raise NotifyError(
        f"notify.slack.api_url: {api_url!r} is not an https address", mend='The default is "https://slack.com/api/".'
    )
