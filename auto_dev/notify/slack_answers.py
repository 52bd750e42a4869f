"""Clicks and dialogs of Slack, whichever way they come in: one set of handlers on slack-bolt's ``AsyncApp``.

A click names a decision and an option, and nothing in it is trusted beyond who Slack says made it. The answer is
committed before the click is acknowledged, so that an acknowledged one is never lost; all else comes after. bolt gets
no token and makes no request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from auto_dev.notify import blocks, slack_views
from auto_dev.notify.block_limits import view_problems
from auto_dev.notify.channel import SendError
from auto_dev.notify.slack_api import Identity, SlackApi
from auto_dev.notify.slack_desk import Asked, Desk, Person, RefusedError, UnavailableError
from auto_dev.notify.sparing import Sparing
from auto_dev.tasks import end_tasks
from auto_dev.text import line

ACT_S: Final = 1.8  # Slack wants its acknowledgement within 3 seconds
MOST_AFTER: Final = 100  # things to do after acknowledgements, at the same time
LONGEST_WAIT_S: Final = 60.0  # that a rate limit may hold up a word to one person
UNSURE: Final = "It is not certain that this was recorded. If the message does not change in a minute, press again."

After = Callable[[], Awaitable[None]]
log = logging.getLogger(__name__)


class _Part(BaseModel):
    """Slack leaves a part out, or sends null, where there is nothing to say."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value


class _Named(_Part):
    id: str = Field(default="", max_length=100)
    name: str = Field(default="", max_length=1000)
    username: str = Field(default="", max_length=1000)


class _Container(_Part):
    channel_id: str = Field(default="", max_length=100)
    thread_ts: str = Field(default="", max_length=100)


class _Choice(_Part):
    """What a button's value and a dialog's metadata hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    decision: str = Field(min_length=1, max_length=100)
    option: str = Field(min_length=1, max_length=2000)


class _Action(_Part):
    action_id: str
    value: str = ""


class _View(_Part):
    type: Literal["modal"]
    callback_id: str = ""
    private_metadata: str = Field(default="", max_length=3000)
    state: dict[str, Any] = {}


class _Payload(_Part):
    """The parts of an interaction that are looked at."""

    type: str
    user: _Named
    team: _Named | None = None
    enterprise: _Named | None = None
    channel: _Named | None = None
    container: _Container | None = None
    api_app_id: str = ""
    trigger_id: str = ""
    response_url: str = ""
    actions: tuple[_Action, ...] = ()
    view: _View | None = None

    @model_validator(mode="after")
    def _complete(self) -> _Payload:
        if not (self.actions if self.type == "block_actions" else self.view):
            raise ValueError("nothing was pressed and nothing was submitted")
        return self

    @property
    def who(self) -> Person:
        return Person(self.user.id, self.user.name or self.user.username)


@dataclass(frozen=True, slots=True)
class Handled:
    """What to answer Slack, and what to do after that."""

    status: int
    body: str = ""
    after: After | None = None

    @property
    def json(self) -> dict[str, Any] | None:
        """The body as a Socket Mode acknowledgement carries it."""
        return json.loads(self.body) if self.body.startswith("{") else None


class Answers:
    """Takes interactions of our own app in our own workspace to the desk. ``identify`` says who we are."""

    def __init__(
        self, desk: Desk, api: SlackApi, identify: Callable[[], Awaitable[Identity]], app_id: str = ""
    ) -> None:
        self._desk = desk
        self._api = api
        self._identify = identify
        self._app_id = app_id
        self._sparing = Sparing(log)
        self._tasks: set[asyncio.Task[None]] = set()
        self._app = _bolt_app()
        self._app.action(re.compile(r"^decide/"))(self._pressed)
        self._app.view(slack_views.CALLBACK)(self._submitted)

    async def close(self) -> None:
        """End what is still to be done after acknowledgements."""
        await end_tasks(*self._tasks)

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` beside everything else. What is too much at once is left: Slack tells that nothing was taken."""
        if len(self._tasks) >= MOST_AFTER:
            work.close()
            self._sparing.warn("slack_crowded", "too many clicks at once")
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("after a click", exc_info=error, extra={"action": "slack_defect"})

    async def handle(self, payload: Mapping[str, Any]) -> Handled:
        """Take one interaction. Its sender is known to be Slack; what is not meant for us changes nothing."""
        if payload.get("type") not in ("block_actions", "view_submission", "url_verification"):
            return Handled(200)  # nothing that this app asked for
        body = {key: payload.get(key) for key in ("type", "token", "challenge")}
        if payload["type"] != "url_verification":
            try:
                given = _Payload.model_validate(payload)
            except ValidationError:
                return Handled(400)
            if refused := await self._foreign(given):
                return refused
            body = given.model_dump(
                exclude_none=True
            )  # bolt gets what was looked at: it trips over shapes that are not Slack's
        # Both ways in verify by themselves who sends: to bolt every request is one that came through a socket.
        request = AsyncBoltRequest(mode="socket_mode", body=body)
        response = await self._app.async_dispatch(request)
        return Handled(response.status, response.body or "", request.context.get("after"))

    async def _foreign(self, given: _Payload) -> Handled | None:
        """What to answer to what is of another workspace or app; None for what is ours."""
        try:
            async with asyncio.timeout(ACT_S):
                us = await self._identify()
        except (SendError, TimeoutError):
            return Handled(503)
        ours = bool(us.team_id) and given.team is not None and given.team.id == us.team_id
        ours |= bool(us.enterprise_id) and given.enterprise is not None and given.enterprise.id == us.enterprise_id
        app = self._app_id or us.app_id
        if not ours or (app and given.api_app_id != app):
            self._sparing.warn("slack_foreign", "a click of another workspace or app is refused")
            return Handled(403)
        return None

    async def _pressed(self, ack: AsyncAck, body: dict[str, Any], context: AsyncBoltContext) -> BoltResponse:
        given = _Payload.model_validate(body)
        choice = _choice(given.actions[0].value)
        if choice is None:
            return BoltResponse(status=400)
        try:
            async with asyncio.timeout(ACT_S):
                asked = await self._desk.look(given.who, choice.decision, choice.option)
                if not asked.wants_text:
                    await self._desk.answer(given.who, choice.decision, choice.option)
        except RefusedError as refused:
            context["after"] = partial(self._tell, given, str(refused))
            return await ack()
        except (UnavailableError, TimeoutError):
            context["after"] = partial(self._tell, given, UNSURE)
            return BoltResponse(status=503)
        if asked.wants_text:
            context["after"] = partial(self._open, given, asked)
        return await ack()

    async def _submitted(self, ack: AsyncAck, body: dict[str, Any]) -> BoltResponse:
        given = _Payload.model_validate(body)
        choice = _choice(given.view.private_metadata) if given.view else None
        if choice is None:
            return BoltResponse(status=400)
        text = _text_in(given.view.state if given.view else {})
        if not text.strip():
            return await ack(response_action="errors", errors={slack_views.FIELD: "Write a few words first."})
        try:
            async with asyncio.timeout(ACT_S):
                await self._desk.answer(given.who, choice.decision, choice.option, text)
        except RefusedError as refused:
            if refused.final:
                return await ack(response_action="update", view=slack_views.notice(str(refused)))
            return await ack(response_action="errors", errors={slack_views.FIELD: line(str(refused), 200)})
        except (UnavailableError, TimeoutError):
            return await ack(response_action="errors", errors={slack_views.FIELD: UNSURE})
        return await ack()

    async def _open(self, given: _Payload, asked: Asked) -> None:
        view = slack_views.text_dialog(asked)
        try:
            if complaints := view_problems(view):
                raise SendError(complaints[0], permanent=True)
            await self._api.call("views.open", {"trigger_id": given.trigger_id, "view": view})
        except SendError as error:
            log.warning("no dialog: %s", error, extra={"action": "slack_no_dialog"})
            command = f"auto-dev decide {asked.decision} --answer {asked.option} --text …"
            await self._tell(given, f"The dialog could not be opened. Press again, or type: {command}")

    async def _tell(self, given: _Payload, text: str) -> None:
        """Say something to the person who clicked, and to nobody else."""
        there = given.container or _Container()
        channel = there.channel_id or (given.channel.id if given.channel else "")
        for last in (False, False, True):
            try:
                await self._api.whisper(
                    blocks.escaped(text, blocks.FALLBACK),
                    channel=channel,
                    user=given.user.id,
                    thread=there.thread_ts,
                    response_url=given.response_url,
                )
                return
            except SendError as error:
                if last or error.retry_after is None or error.retry_after > LONGEST_WAIT_S:
                    log.warning("not told: %s", error, extra={"action": "slack_not_told"})
                    return
                await asyncio.sleep(error.retry_after)


def _bolt_app() -> AsyncApp:
    """bolt for what it is good at, finding the handler; who may send what was checked before."""
    logger = logging.getLogger("auto_dev.slack_bolt")
    logger.setLevel(logging.ERROR)  # below that it tells of whole requests, with addresses that let others reply

    async def authorized(**_: Any) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=None)

    return AsyncApp(
        name="auto-dev",
        logger=logger,
        client=AsyncWebClient(logger=logger),
        authorize=authorized,
        signing_secret="",
        process_before_response=True,
        request_verification_enabled=False,
        ignoring_self_events_enabled=False,
        ssl_check_enabled=False,
        attaching_function_token_enabled=False,
    )


def _choice(text: str) -> _Choice | None:
    try:
        return _Choice.model_validate_json(text)
    except ValidationError:
        return None


def _text_in(state: Mapping[str, Any]) -> str:
    value: Any = state.get("values")
    for key in (slack_views.FIELD, slack_views.FIELD, "value"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
