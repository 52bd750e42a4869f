"""Slack's Web API over httpx: one call, its errors, who we are, and a word to one person.

The token travels to the configured host alone; no redirect is followed. Errors never hold a token or an address with a
secret in it. https://docs.slack.dev/apis/web-api
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from auto_dev.errors import NotifyError
from auto_dev.notify.channel import SendError, is_loopback

TIMEOUT_S: Final = 20.0
SCOPES_HEADER: Final = "x-oauth-scopes"

TOKEN_ERRORS: Final = frozenset(
    {"account_inactive", "invalid_auth", "not_authed", "not_allowed_token_type", "token_expired", "token_revoked"}
)
_MENDS: Final[Mapping[str, str]] = {
    "channel_not_found": "Check notify.slack.channel; a private channel must have the app as a member.",
    "not_in_channel": "Invite the app into the channel (/invite), or give it chat:write.public.",
    "is_archived": "Unarchive the channel, or set another notify.slack.channel.",
    "missing_scope": "Give the Slack app the scopes of docs/slack.md and install it again.",
    "no_permission": "Give the Slack app the scopes of docs/slack.md and install it again.",
    "access_denied": "Ask an administrator of the workspace.",
    "ekm_access_denied": "Ask an administrator of the workspace.",
    "org_login_required": "Ask an administrator of the workspace.",
    "team_access_not_granted": "Ask an administrator of the workspace.",
    "restricted_action": "Ask an administrator of the workspace to let the app post there.",
    "restricted_action_read_only_channel": "Let the app post in the channel, or set another notify.slack.channel.",
    "restricted_action_thread_only_channel": "Let the app post in the channel, or set another notify.slack.channel.",
}
BLOCK_ERRORS: Final = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
METADATA_ERRORS: Final = frozenset(
    {"invalid_metadata_format", "invalid_metadata_schema", "metadata_must_be_sent_from_app", "metadata_too_large"}
)
_UNSURE_ERRORS: Final = frozenset({"fatal_error", "internal_error", "service_unavailable", "request_timeout"})
_RATE_ERRORS: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})


class RefusalError(SendError):
    """Slack answered ok: false; ``code`` is its error."""

    def __init__(self, code: str, **how: Any) -> None:
        super().__init__(f"Slack refused: {code}", **how)
        self.code = code


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token is. ``enterprise_id`` only where the app is installed for a whole organisation."""

    team_id: str
    user_id: str
    bot_id: str
    team: str
    user: str
    app_id: str = ""
    enterprise_id: str = ""


class SlackApi:
    """The Web API with one bot token."""

    def __init__(self, api_url: str, token: str, *, name: str = "SLACK_BOT_TOKEN") -> None:
        self.base_url = checked_url(api_url)
        self._client = httpx.AsyncClient(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {checked_token(token, name)}"},
            timeout=TIMEOUT_S,
            follow_redirects=False,
        )
        self._hooks: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        if self._hooks is not None:
            await self._hooks.aclose()

    async def call(
        self, method: str, body: Mapping[str, Any] | None = None, *, form: bool = False, token: str = ""
    ) -> dict[str, Any]:
        """Call ``method``; ``token`` in the place of the bot's. Raises SendError, RefusalError for ok: false."""
        return _answer(await self._post(method, body or {}, form=form, token=token))

    async def identity(self) -> Identity:
        """Who this token is. The app's id is "" where Slack does not say it (scope users:read). Raises SendError."""
        answer = await self.call("auth.test")
        named = {key: str(answer.get(key) or "") for key in ("team_id", "user_id", "bot_id", "team", "user")}
        whole = str(answer.get("enterprise_id") or "") if answer.get("is_enterprise_install") else ""
        app = ""
        if named["bot_id"]:
            try:
                told = await self.call("bots.info", {"bot": named["bot_id"]}, form=True)
                app = str((told.get("bot") or {}).get("app_id") or "")
            except RefusalError as refused:
                if refused.whole_channel and not refused.permanent:  # away, or in a hurry: it may say so later
                    raise
        return Identity(**named, app_id=app, enterprise_id=whole)

    async def scopes(self) -> frozenset[str]:
        """What this token may do, as Slack's answer to auth.test says. Raises SendError."""
        response = await self._post("auth.test", {})
        _answer(response)
        return frozenset(scope.strip() for scope in response.headers.get(SCOPES_HEADER, "").split(",") if scope.strip())

    async def whisper(self, text: str, *, channel: str, user: str, thread: str = "", response_url: str = "") -> None:
        """Show ``text`` (mrkdwn) to one person alone. Raises SendError.

        ``response_url`` needs no membership of the channel, but came with the request: it is used only when it leads
        to Slack itself.
        """
        if response_url and self.is_slacks(response_url):
            body = {"response_type": "ephemeral", "replace_original": False, "text": text}
            try:
                # By a client of its own: the bot's token has no business at this address.
                if self._hooks is None:
                    self._hooks = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)
                response = await self._hooks.post(response_url, json=body)
            except httpx.HTTPError as error:
                raise SendError(f"Slack did not take a reply: {type(error).__name__}") from None
            if response.is_success:
                return
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise SendError("Slack asks to wait (429)", retry_after=retry_after(response))
        if not channel:
            raise SendError("Slack gave no place for a reply", permanent=True)
        there = {"channel": channel, "user": user, "text": text, **({"thread_ts": thread} if thread else {})}
        await self.call("chat.postEphemeral", there)

    def is_slacks(self, url: str) -> bool:
        """Whether ``url`` leads to hooks.slack.com (or its like beside the configured host), or to that host itself."""
        try:
            parts, api = urlsplit(url), urlsplit(self.base_url)
            port, api_port = parts.port, api.port
        except ValueError:
            return False
        if parts.username is not None or parts.password is not None or any(c.isspace() or c == "\\" for c in url):
            return False
        if parts.scheme == "https" and port in (None, 443):
            host = (parts.hostname or "").rstrip(".")
            if host == "hooks.slack.com" or (api.hostname == "slack-gov.com" and host == "hooks.slack-gov.com"):
                return True
        return (parts.scheme, parts.hostname, port) == (api.scheme, api.hostname, api_port)

    async def _post(
        self, method: str, body: Mapping[str, Any], *, form: bool = False, token: str = ""
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            if form:
                return await self._client.post(method, data=dict(body), headers=headers)
            return await self._client.post(method, json=dict(body), headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise SendError(f"Slack cannot be reached: {type(error).__name__}", whole_channel=True) from None
        except httpx.HTTPError as error:
            raise SendError(
                f"Slack did not answer: {type(error).__name__}", whole_channel=True, unconfirmed=True
            ) from None


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise SendError("Slack asks to wait (429)", whole_channel=True, retry_after=retry_after(response))
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


def _classify(code: str, response: httpx.Response) -> RefusalError:
    if code in _RATE_ERRORS:
        return RefusalError(code, whole_channel=True, retry_after=retry_after(response))
    if code in TOKEN_ERRORS:
        mend = "Set valid tokens: SLACK_BOT_TOKEN (xoxb-…), and SLACK_APP_TOKEN (xapp-…) for answers."
        return RefusalError(code, mend=mend, permanent=True, whole_channel=True)
    if code in _MENDS:
        return RefusalError(code, mend=_MENDS[code], permanent=True, whole_channel=True)
    if code in _UNSURE_ERRORS:
        return RefusalError(code, whole_channel=True, unconfirmed=True)
    permanent = code in BLOCK_ERRORS | METADATA_ERRORS | {"msg_too_long", "no_text", "invalid_arguments"}
    return RefusalError(code, permanent=permanent)


def retry_after(response: httpx.Response) -> float:
    """How many seconds Slack asks to wait."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else 30.0


def checked_token(token: str, name: str) -> str:
    """``token``, fit for a header. Raises NotifyError, which never repeats it."""
    if not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise NotifyError(f"{name} is not a token", mend="It looks like xoxb-… (a bot's) or xapp-… (an app's).")
    return token


def checked_url(api_url: str) -> str:
    """``api_url`` with one slash at its end. Raises NotifyError where the token would travel in the clear."""
    parts = urlsplit(api_url)
    if parts.scheme == "https" and parts.hostname:
        return api_url.rstrip("/") + "/"
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return api_url.rstrip("/") + "/"
    raise NotifyError(
        f"notify.slack.api_url: {api_url!r} is not an https address", mend='The default is "https://slack.com/api/".'
    )
