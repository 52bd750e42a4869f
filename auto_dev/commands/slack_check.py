"""What ``doctor`` looks at in Slack: tokens, scopes, the channel, whether connections open, who may decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from auto_dev.config import NotifyConfig, SlackConfig
from auto_dev.errors import AutoDevError
from auto_dev.notify import slack_link
from auto_dev.notify.channel import SendError
from auto_dev.notify.slack_api import RefusalError, SlackApi

Secrets = Callable[[str], str | None]
Said = tuple[str, str]  # level (ok | warning | error) and text

NEEDED: Final = ("chat:write",)
WANTED: Final = {
    "channels:history": "after a crash a message may come twice (groups:history for a private channel)",
    "channels:read": "it cannot be told whether the app is in the channel (groups:read for a private channel)",
    "users:read": "it cannot be told whether those who may decide exist",
}
_PRIVATE: Final = {"channels:history": "groups:history", "channels:read": "groups:read"}
_PAGES: Final = 20


async def check_slack(config: NotifyConfig, secrets: Secrets) -> list[Said]:
    """Look at the whole setup; nothing is posted and no connection is opened, which would take clicks away."""
    token = (secrets("SLACK_BOT_TOKEN") or "").strip()
    if not token:
        return [("error", "SLACK_BOT_TOKEN is not set; docs/slack.md tells how to make it")]
    try:
        plan = slack_link.plan(config, secrets)
        api = SlackApi(config.slack.api_url, token)
    except AutoDevError as error:
        return [("error", str(error))]
    try:
        found = await _looked(api, config.slack)
        if plan.mode == "socket":
            found.append(await _app_token(api, (secrets("SLACK_APP_TOKEN") or "").strip()))
        if plan.mode == "http":
            found.append(("ok", f"signed requests are taken at {config.slack.listen}, path /slack/events"))
    except SendError as error:
        found = [("error" if error.permanent else "warning", str(error))]
    finally:
        await api.close()
    return [*found, *([("warning", plan.note)] if plan.note else [])]


async def _looked(api: SlackApi, config: SlackConfig) -> list[Said]:
    us = await api.identity()
    found: list[Said] = [("ok", f"{us.user} in {us.team}")]
    scopes = await api.scopes()
    found += list(_scopes(scopes))
    if scopes & {"channels:read", "groups:read"}:
        found.append(await _membership(api, config.channel, scopes))
    if "users:read" in scopes:
        found += [said for user in config.deciders if (said := await _decider(api, user))]
    return found


def _scopes(granted: frozenset[str]) -> Iterator[Said]:
    if not granted:
        yield "warning", "Slack does not say what the token may do"
        return
    for scope in NEEDED:
        if scope not in granted:
            yield "error", f"the scope {scope} is missing: give it to the app and install it again"
    for scope, without in WANTED.items():
        if not granted & {scope, _PRIVATE.get(scope, scope)}:
            yield "warning", f"without the scope {scope} {without}"


async def _membership(api: SlackApi, channel: str, scopes: frozenset[str]) -> Said:
    kinds = [kind for kind, scope in (("public_channel", "channels:read"), ("private_channel", "groups:read"))
             if scope in scopes]  # fmt: skip
    query: dict[str, Any] = {"types": ",".join(kinds), "limit": 200, "exclude_archived": "true"}
    for _ in range(_PAGES):
        answer = await api.call("users.conversations", query, form=True)
        for one in answer.get("channels") or []:
            if channel.lstrip("#") in (one.get("id"), one.get("name")):
                return "ok", f"the app is in {channel}"
        query["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor")
        if not query["cursor"]:
            break
    return "error", f"the app is not in {channel}: write /invite @its-name there, or mend notify.slack.channel"


async def _decider(api: SlackApi, user: str) -> Said | None:
    try:
        answer = await api.call("users.info", {"user": user}, form=True)
    except RefusalError as refused:
        if refused.code in ("user_not_found", "user_not_visible", "users_not_found"):
            return "error", f"{user}, who may decide, is not in this workspace: mend deciders in [notify.slack]"
        raise
    gone = bool((answer.get("user") or {}).get("deleted"))
    return ("warning", f"{user}, who may decide, is deactivated") if gone else None


async def _app_token(api: SlackApi, token: str) -> Said:
    """An address for a connection is asked for, and left alone."""
    try:
        await api.call("apps.connections.open", token=token)
    except RefusalError as refused:
        needs = "it needs connections:write, and Socket Mode switched on"
        return "error", f"SLACK_APP_TOKEN opens no connection: {refused.code}; {needs}"
    return "ok", "SLACK_APP_TOKEN opens connections"
