"""Chat models as LangChain has them, without what would spend or send unseen: no retries, no tracing, no environment.

Everything of langchain, anthropic and openai is imported when the first model is opened (2 s).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from auto_dev.agents.base import AgentResult, Endpoint, Outcome
from auto_dev.config import AgentConfig
from auto_dev.errors import AgentError
from auto_dev.text import line

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Secrets = Callable[[str], str | None]

MAX_OUTPUT: Final = 8192  # tokens of one answer; each request sets this much aside
_KEYS: Final = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_VERSIONS: Final = {"anthropic": "", "openai": "/v1"}  # what the provider's own client expects at a base URL's end
_OPENAI: Final = re.compile(r"(gpt-|chatgpt-|o\d)")
_AGAIN: Final = timedelta(minutes=5)  # when a service that failed is tried again
_SOON: Final = timedelta(minutes=1)  # when a rate limit does not say its end


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and where: at the gateway, whose token for this turn is the key."""

    provider: str
    name: str
    api_key: str
    base_url: str
    timeout_s: float = 600.0
    max_output: int = MAX_OUTPUT

    def __repr__(self) -> str:
        """Without the key: a spec may end up in a log."""
        return f"ModelSpec({self.provider}:{self.name} at {self.base_url})"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed request means for the agent. ``retry``: another try may help, after ``wait_s`` at the earliest."""

    result: AgentResult
    retry: bool
    wait_s: float = 0.0


def split_model(model: str | None) -> tuple[str, str]:
    """``"anthropic:claude-…"``, or a bare name that tells its provider, as (provider, name). Raises AgentError."""
    if not model:
        raise AgentError('kind = "chat" needs a model', where="agent.model", mend='Set model = "claude-sonnet-4-6".')
    provider, colon, name = model.partition(":")
    if not colon:
        provider, name = "", model
        if model.startswith("claude-"):
            provider = "anthropic"
        elif _OPENAI.match(model):
            provider = "openai"
    if provider not in _KEYS or not name:
        raise AgentError(
            f"no provider is known for the model {line(model, 80)!r}",
            where="agent.model",
            mend='Write it as "anthropic:NAME" or "openai:NAME".',
        )
    return provider, name


def model_spec(config: AgentConfig, endpoint: Endpoint, model: str | None = None) -> ModelSpec:
    """The model of ``config`` (or ``model`` in its place) at the gateway. Raises AgentError for an unknown one."""
    provider, name = split_model(config.model or model)
    timeout_s = min(600.0, config.stuck_minutes * 60)
    return ModelSpec(provider, name, endpoint.token, endpoint.host_url + _VERSIONS[provider], timeout_s)


def check_model(config: AgentConfig) -> None:
    """Raises AgentError for an unknown model, and for a ``base_url`` that is no base URL."""
    split_model(config.model)
    upstreams_for(config)


def upstreams_for(config: AgentConfig) -> dict[str, str]:
    """``base_url`` as the gateway's upstream: {provider: URL}, without what the gateway adds; {} when it is not set.

    Raises AgentError for what is not such a URL.
    """
    if config.base_url is None:
        return {}
    provider, _ = split_model(config.model)
    given = config.base_url.strip().rstrip("/")
    try:
        parts = urlsplit(given)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or (provider == "openai" and not given.endswith("/v1")):
        example = "https://models.example.com" + _VERSIONS[provider]
        raise AgentError(
            f"not the base URL of an {provider} service: {line(config.base_url, 120)!r}",
            where="agent.base_url",
            mend=f"Write it like {example!r}.",
        )
    return {provider: given.removesuffix("/v1").rstrip("/")}


def load(provider: str) -> None:
    """Import what a model of ``provider`` needs: seconds, so not in the event loop."""
    for name in ("langchain.chat_models", "langgraph.graph", "langsmith.run_helpers", f"langchain_{provider}"):
        import_module(name)


@asynccontextmanager
async def open_model(spec: ModelSpec) -> AsyncIterator[BaseChatModel]:
    """The chat model of ``spec``, with connections of its own that are closed afterwards."""
    from langchain.chat_models import init_chat_model

    settings: dict[str, Any] = {
        "model_provider": spec.provider,
        "api_key": spec.api_key,
        "base_url": spec.base_url,
        "max_tokens": spec.max_output,
        "timeout": spec.timeout_s,
        "max_retries": 0,  # every retry is ours, so that it is seen and waits as long as it must
    }
    connection: dict[str, Any] = {"timeout": spec.timeout_s}
    if urlsplit(spec.base_url).hostname in ("127.0.0.1", "::1", "localhost"):
        # No proxy in between. The SDKs' clients take proxies from the environment even with trust_env off.
        connection |= {"trust_env": False, "mounts": dict.fromkeys(("all://", "http://", "https://"))}
    if spec.provider == "anthropic":
        import anthropic

        async with anthropic.DefaultAsyncHttpxClient(**connection) as http:
            model = init_chat_model(spec.name, **settings)
            # ChatAnthropic takes no client; its own is shared between event loops and never closed.
            vars(model)["_async_client"] = anthropic.AsyncAnthropic(
                api_key=spec.api_key,
                base_url=spec.base_url,
                timeout=spec.timeout_s,
                max_retries=0,
                http_client=http,
                open_telemetry=False,
            )
            yield model
        return
    import openai

    async with openai.DefaultAsyncHttpxClient(**connection) as http:
        yield init_chat_model(spec.name, **settings, http_async_client=http)


def failure(error: Exception, spec: ModelSpec, now: datetime) -> Failure:
    """What the error of a request means for the agent."""
    from langchain_core.exceptions import ModelConnectionError, ModelTimeoutError

    status = getattr(error, "status_code", None)
    said = line(str(getattr(error, "message", "") or error), 240)
    if isinstance(status, int):
        result = _by_status(status, error, said, spec, now)
        wait_s = (result.resets_at - now).total_seconds() if status == 429 and result.resets_at else 0.0
        return Failure(result, retry=status == 429 or status >= 500, wait_s=wait_s)
    if isinstance(error, (ModelConnectionError, ModelTimeoutError)):
        detail = f"{spec.base_url} cannot be reached or did not answer: {_root(error)}"
        return Failure(AgentResult(Outcome.RATE_LIMITED, detail, resets_at=now + _AGAIN), retry=True)
    return Failure(AgentResult(Outcome.FAILED, f"the model's answer cannot be used: {said}"), retry=False)


def resets_at(headers: Mapping[str, str], now: datetime) -> datetime:
    """When a rate limit ends, by ``retry-after`` or the exhausted ``anthropic-ratelimit-*-reset``; else in a minute."""
    after = headers.get("retry-after", "").strip()
    if after:
        moment = _moment(after, now)
        if moment is not None:
            return max(moment, now)
    ends = []
    for name, value in headers.items():
        match = re.fullmatch(r"anthropic-ratelimit-(.+)-reset", name.lower())
        if match and headers.get(f"anthropic-ratelimit-{match[1]}-remaining", "0").strip() == "0":
            moment = _moment(value, now)
            if moment is not None:
                ends.append(moment)
    return max([*ends, now]) if ends else now + _SOON


def _moment(text: str, now: datetime) -> datetime | None:
    try:
        seconds = float(text)
        return now + timedelta(seconds=min(max(seconds, 0.0), 30 * 86400))
    except (ValueError, OverflowError):
        pass
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _by_status(status: int, error: Exception, said: str, spec: ModelSpec, now: datetime) -> AgentResult:
    if status == 429:
        headers = getattr(getattr(error, "response", None), "headers", {})
        return AgentResult(
            Outcome.RATE_LIMITED, f"{spec.provider} limits the rate: {said}", resets_at=resets_at(headers, now)
        )
    if status >= 500:
        detail = f"{spec.provider} fails with status {status}: {said}"
        return AgentResult(Outcome.RATE_LIMITED, detail, resets_at=now + _AGAIN)
    if status in (401, 403):
        detail = f"{spec.provider} refuses the key ({status}). Check {_KEYS[spec.provider]}. It says: {said}"
    elif status == 404:
        detail = f"{spec.provider} does not know the model {spec.name!r} (404). Check model in [agent]. It says: {said}"
    elif status == 402 or "credit balance" in said:
        detail = f"{spec.provider} wants to be paid first. It says: {said}"
    else:
        return AgentResult(Outcome.FAILED, f"{spec.provider} refused the request ({status}): {said}")
    return AgentResult(Outcome.UNAVAILABLE, detail)


def _root(error: BaseException) -> str:
    seen = error
    while (below := seen.__cause__ or seen.__context__) is not None:
        seen = below
    return line(str(seen) or type(seen).__name__, 160)
