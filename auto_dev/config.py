"""``auto-dev.toml``: what a project's owner decided, checked.

Every error names the key path and the allowed values. Flags override the file; secrets come only from the environment
or the OS keyring. The policy of a running story is the frozen copy that its run stored when it started.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from auto_dev.errors import ConfigError

FILE_NAME = "auto-dev.toml"

AGENT_KINDS = ("claude-code", "codex", "opencode", "gemini", "aider", "qwen", "acp", "command", "chat", "replay")
AgentKind = Literal["claude-code", "codex", "opencode", "gemini", "aider", "qwen", "acp", "command", "chat", "replay"]
Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]

_WINDOW = re.compile(r"^(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})$")
_CLOCK = re.compile(r"^(\d{1,2}):(\d{2})$")
_SLUG = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_SLACK_USER = re.compile(r"^[UW][A-Z0-9]{2,20}$")
_LISTEN = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$")
_REPOSITORY = re.compile(r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")


def _slug(value: str) -> str:
    if not _SLUG.match(value):
        raise ValueError("use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit")
    return value


def _relative(value: str) -> str:
    path = Path(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError("use a path inside the repository, without '..'")
    return value


def _slack_user(value: str) -> str:
    if not _SLACK_USER.match(value):
        raise ValueError("use a Slack user's id such as U012AB3CD; docs/slack.md says where to find it")
    return value


Slug = Annotated[str, AfterValidator(_slug)]
SlackUser = Annotated[str, AfterValidator(_slack_user)]
RelativePath = Annotated[str, AfterValidator(_relative)]


class _Section(BaseModel):
    """Unknown keys are refused: a misspelt limit must not be taken for no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProjectConfig(_Section):
    id: Slug | None = None  # default: the repository folder's name
    base_branch: str | None = None  # default: the remote's HEAD, else the checked-out branch
    remote: str = "origin"
    stories: str = ""  # default for DIR
    dependencies: Literal["stacked", "merged"] = "stacked"
    write_back: bool = False  # the pull request also sets ``status: done`` in the story's file


class AgentChoice(_Section):
    """Another agent beside ``[agent]``. What is not said here is as it is there, as far as the kind is the same."""

    kind: AgentKind | None = None
    model: str | None = None
    command: list[str] = []
    mode: Literal["api", "subscription"] | None = None
    recording: RelativePath | None = None  # kind = "replay"
    base_url: str | None = None  # kind = "chat"

    @model_validator(mode="after")
    def _complete(self) -> AgentChoice:
        if self.kind == "command" and not self.command:
            raise ValueError('kind = "command" needs command = ["./agent.sh"]')
        return self


class AgentConfig(_Section):
    kind: AgentKind = "claude-code"
    model: str | None = None
    command: list[str] = []
    mode: Literal["api", "subscription"] = (
        "api"  # "subscription": the agent's own login, which the gateway cannot meter
    )
    phases: list[Literal["plan", "implement", "review"]] = ["implement"]
    max_minutes: Annotated[float, Field(gt=0, le=1440)] = 240
    stuck_minutes: Annotated[float, Field(gt=0, le=1440)] = 10
    max_turns: Annotated[int, Field(gt=0, le=1000)] = 100  # kind = "chat", "replay"
    recording: RelativePath | None = None  # kind = "replay": a folder of recorded conversations
    base_url: str | None = None  # kind = "chat": another endpoint than the provider's own
    escalation: AgentChoice | None = None  # who takes the next attempt when a failure comes back unchanged

    @model_validator(mode="after")
    def _complete(self) -> AgentConfig:
        if self.kind == "command" and not self.command:
            raise ValueError('kind = "command" needs command = ["./agent.sh"]')
        if self.escalation is not None and self.with_choice(self.escalation) == self.with_choice(AgentChoice()):
            raise ValueError("escalation must name another kind, model or command than [agent] has")
        return self

    def with_choice(self, choice: AgentChoice) -> AgentConfig:
        """``choice`` as a whole agent; limits are those of this one."""
        given = choice.model_dump(exclude_none=True, exclude_unset=True)
        same = choice.kind is None or choice.kind == self.kind
        shared = ("kind", "model", "command", "mode", "recording", "base_url") if same else ()
        kept = {name: getattr(self, name) for name in (*shared, "max_minutes", "stuck_minutes", "max_turns")}
        return AgentConfig.model_validate({**kept, **given})

    @property
    def escalated(self) -> AgentConfig | None:
        """Who takes over when this agent does not get on; None where nobody does."""
        return self.with_choice(self.escalation) if self.escalation is not None else None

    @property
    def label(self) -> str:
        """Who it is, as people read it."""
        return f"{self.kind} ({self.model})" if self.model else self.kind


class BudgetConfig(_Section):
    """US dollars. A limit of 0 lets nothing be spent."""

    daily: Dollars = 50
    weekly: Dollars = 200
    story: Dollars = 10
    alert_at: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.8
    prices: dict[str, PriceConfig] = {}  # for models that the price table does not know


class PriceConfig(_Section):
    """US dollars per million tokens."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None


class RunConfig(_Section):
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 3
    repair_attempts: Annotated[int, Field(ge=0, le=10)] = 2
    schedule: str | None = None  # "08:00-18:00", local to ``timezone``; absent = always
    timezone: str = "UTC"
    graph: str | None = None  # "my_package:build"

    @field_validator("schedule")
    @classmethod
    def _window(cls, value: str | None) -> str | None:
        if value is not None:
            parse_window(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown timezone {value!r}; use an IANA name such as Europe/Berlin") from None
        return value


class SetupConfig(_Section):
    """Done once per worktree."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    # "copy" would shadow BaseModel.copy, hence the alias.
    copy_files: list[RelativePath] = Field(default=[], alias="copy")
    command: str | None = None
    ports: Annotated[int, Field(ge=0, le=50)] = 0
    timeout_minutes: Annotated[float, Field(gt=0, le=240)] = 20


class CommandGate(_Section):
    name: Slug
    run: Annotated[str, Field(min_length=1)]
    timeout_minutes: Annotated[float, Field(gt=0, le=600)] = 20


class ScopeGate(_Section):
    allowed_paths: list[str] = []
    protected_paths: list[str] = [".github/", ".env"]
    max_file_changes: Annotated[int, Field(ge=1)] = 50


class SecretsGate(_Section):
    allow: list[str] = []  # files (globs) and fingerprints of credentials that may leave


class CriticalGate(_Section):
    allow: list[str] = []  # files (globs), kinds such as "api.break", and fingerprints that need no person


class IntegrationGate(_Section):
    """``overlaps``: whether a conflict with another open story asks; a conflict with the base is always repaired."""

    overlaps: Literal["note", "ask"] = "note"


class ConfidenceGate(_Section):
    minimum: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.8


class TamperingGate(_Section):
    protected: list[str] = []  # the owner's own tests: before commands judge they are put back as on the base


class ProofGate(_Section):
    commands: list[str] = []  # which commands run tests; default: those whose output shows that they do
    run_on_base: bool = True  # false: new tests are not run without the story's change


class FlakyConfig(_Section):
    reruns: Annotated[int, Field(ge=0, le=5)] = 2  # of a command that newly fails; 0: a failure counts at once


class ReviewGate(_Section):
    """Another look at the finished change, by an agent that may only read."""

    reviewers: list[AgentChoice] = []  # default: the agent itself, with fresh eyes
    quorum: Annotated[int, Field(ge=1)] = 1  # so many must find a fault blocking for it to block
    max_minutes: Annotated[float, Field(gt=0, le=1440)] = 30  # of one reviewer's turn

    @model_validator(mode="after")
    def _reachable(self) -> ReviewGate:
        if self.quorum > (count := max(len(self.reviewers), 1)):
            raise ValueError(f"quorum = {self.quorum} can never be reached by {count} reviewer{'s' * (count > 1)}")
        return self


class GatesConfig(_Section):
    command: list[CommandGate] = []
    scope: ScopeGate = ScopeGate()
    tampering: TamperingGate = TamperingGate()
    proof: ProofGate = ProofGate()
    flaky: FlakyConfig = FlakyConfig()
    secrets: SecretsGate = SecretsGate()
    critical: CriticalGate = CriticalGate()
    integration: IntegrationGate = IntegrationGate()
    confidence: ConfidenceGate = ConfidenceGate()
    review: ReviewGate | None = None  # absent: nobody reviews, unless [agent] phases has "review"
    advisory: list[str] = []  # gates that report but never stop a run
    custom: list[str] = []  # "my_package:MyGate"

    @field_validator("command")
    @classmethod
    def _unique(cls, value: list[CommandGate]) -> list[CommandGate]:
        names = [gate.name for gate in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two commands are named {twice[0]!r}")
        return value

    @model_validator(mode="after")
    def _known(self) -> GatesConfig:
        names = [gate.name for gate in self.command]
        if unknown := next((name for name in self.proof.commands if name not in names), None):
            raise ValueError(f"proof.commands names {unknown!r}, but the commands are: {', '.join(names) or 'none'}")
        return self


class GatewayConfig(_Section):
    anthropic_url: str = "https://api.anthropic.com"
    openai_url: str = "https://api.openai.com"
    gemini_url: str = "https://generativelanguage.googleapis.com"


class SandboxConfig(_Section):
    """What the box around agents, gate commands and setup commands lets through. Not in it: --no-sandbox is a flag."""

    allow_hosts: list[str] = []  # "pypi.org", "*.example.com", "localhost:8080", or a preset: pypi, npm, crates, go, …
    read: list[str] = []  # further files and folders that may be read ("~/" is the user's home)
    write: list[str] = []  # folders outside the worktree that may be written, such as a shared cache
    memory_gb: Annotated[float, Field(gt=0, le=4096)] | None = None  # of one tree; default: no limit of its own
    processes: Annotated[int, Field(ge=16, le=100_000)] = 4096  # of one tree


class DecisionsConfig(_Section):
    autonomy: Literal["conservative", "moderate", "aggressive"] = "moderate"


class ForgeConfig(_Section):
    kind: Literal["github", "none"] = "none"
    repository: str | None = None
    api_url: str = "https://api.github.com"
    label: str = "auto-dev"
    app_id: int | str | None = None
    installation_id: int | None = Field(default=None, ge=1)
    follow_up_minutes: Annotated[float, Field(ge=0, le=1440)] = 5  # between two looks at open pull requests; 0: none
    follow_up_attempts: Annotated[int, Field(ge=0, le=10)] = 2  # for one pull request, until a person speaks
    follow_up_requests: Annotated[int, Field(ge=10, le=5000)] = 500  # an hour, for looking
    trusted_bots: list[str] = []  # logins of bots whose comments an agent may act on, such as "sonarqubecloud"

    @model_validator(mode="after")
    def _complete(self) -> ForgeConfig:
        if self.installation_id is not None and self.app_id is None:
            raise ValueError("installation_id is of a GitHub App: set its app_id, too")
        if self.kind == "github" and not self.repository:
            raise ValueError('kind = "github" needs repository = "owner/name"')
        if self.repository and not _REPOSITORY.match(self.repository):
            raise ValueError('repository is written "owner/name"')
        return self


class SlackConfig(_Section):
    channel: str = "#auto-dev"
    deciders: list[SlackUser] = []  # who may decide in Slack; empty: nobody
    mode: Literal["socket", "http", "off"] | None = None  # how answers come in; default: by the secrets that there are
    listen: str = "127.0.0.1:3101"  # mode = "http"
    api_url: str = "https://slack.com/api/"

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        parse_listen(value)
        return value


class EmailConfig(_Section):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    sender: str = Field(default="auto-dev@localhost", alias="from")
    to: list[str] = []


class NotifyConfig(_Section):
    """Times of day are local to ``run.timezone``."""

    channels: list[Literal["slack", "email", "apprise"]] = []
    daily_summary: str | None = "18:00"
    reminder: str | None = "09:00"  # once a day, of decisions that nobody has answered for hours
    quiet_hours: str | None = None  # "22:00-07:00": only what cannot wait is sent
    dashboard_url: str | None = None  # where links in messages lead, if others can reach the dashboard
    slack: SlackConfig = SlackConfig()
    email: EmailConfig = EmailConfig()

    @field_validator("daily_summary", "reminder")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is not None:
            parse_clock(value)
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _window(cls, value: str | None) -> str | None:
        if value is not None:
            parse_window(value)
        return value

    @field_validator("dashboard_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^https?://[^\s/]+(?:/\S*)?$", value):
            raise ValueError("use an address such as https://auto-dev.example.com")
        return value

    @model_validator(mode="after")
    def _complete(self) -> NotifyConfig:
        if "email" in self.channels and not self.email.to:
            raise ValueError('channels has "email", so [notify.email] needs to = ["you@example.com"]')
        return self


class AutopilotConfig(_Section):
    enabled: bool = False
    allowed_tags: list[str] = []
    min_priority: Annotated[int, Field(ge=1, le=5)] = 5
    max_concurrent_runs: Annotated[int, Field(ge=1, le=64)] = 1
    stop_on_failure_count: Annotated[int, Field(ge=1)] = 3
    schedule_cron: str = ""


class Config(_Section):
    """The whole file. ``Config()`` is the default policy."""

    project: ProjectConfig = ProjectConfig()
    agent: AgentConfig = AgentConfig()
    budget: BudgetConfig = BudgetConfig()
    run: RunConfig = RunConfig()
    setup: SetupConfig = SetupConfig()
    gates: GatesConfig = GatesConfig()
    gateway: GatewayConfig = GatewayConfig()
    sandbox: SandboxConfig = SandboxConfig()
    decisions: DecisionsConfig = DecisionsConfig()
    forge: ForgeConfig = ForgeConfig()
    notify: NotifyConfig = NotifyConfig()
    autopilot: AutopilotConfig = AutopilotConfig()

    @property
    def reviewers(self) -> tuple[AgentConfig, ...]:
        """Who reviews, in their order; none where nobody does."""
        review = self.gates.review
        if review is None and "review" not in self.agent.phases:
            return ()
        review = review or ReviewGate()
        found = [self.agent.with_choice(choice) for choice in review.reviewers or [AgentChoice()]]
        return tuple(one.model_copy(update={"max_minutes": review.max_minutes}) for one in found)

    def agents(self) -> dict[str, AgentConfig]:
        """Every agent that this policy may call, by the key path that names it."""
        found = {"agent": self.agent}
        if (escalated := self.agent.escalated) is not None:
            found["agent.escalation"] = escalated
        return found | {f"gates.review.reviewers[{n}]": one for n, one in enumerate(self.reviewers)}


BudgetConfig.model_rebuild()
Config.model_rebuild()


def parse_clock(text: str) -> time:
    """``"18:00"`` as a time of day. Raises ValueError."""
    match = _CLOCK.match(text.strip())
    if match and int(match[1]) < 24 and int(match[2]) < 60:
        return time(int(match[1]), int(match[2]))
    raise ValueError(f"{text!r} is not a time of day; write it like 18:00")


def parse_listen(text: str) -> tuple[str, int]:
    """``"127.0.0.1:3101"`` as host and port; port 0 is any free one. Raises ValueError."""
    match = _LISTEN.match(text)
    if match and int(match[2]) < 65536:
        return match[1].strip("[]"), int(match[2])
    raise ValueError(f"{text!r} is not an address to listen on; write it like 127.0.0.1:3101")


def parse_window(text: str) -> tuple[time, time]:
    """``"08:00-18:00"`` as two times of day; a window may go over midnight. Raises ValueError."""
    match = _WINDOW.match(text.replace(" ", ""))
    if match:
        start, end = f"{match[1]}:{match[2]}", f"{match[3]}:{match[4]}"
        end = "00:00" if end == "24:00" else end
        times = parse_clock(start), parse_clock(end)
        if times[0] != times[1]:
            return times
    raise ValueError(f"{text!r} is not a window of time; write it like 08:00-18:00")


def in_window(now: time, window: tuple[time, time]) -> bool:
    """Whether the local time of day ``now`` lies in ``window``; the end is outside."""
    start, end = window
    return start <= now < end if start < end else now >= start or now < end


def parse(text: str, where: str, overrides: dict[str, Any] | None = None) -> Config:
    """Check the TOML ``text`` of the file ``where``, with ``overrides`` ({"budget": {"daily": 5}}) from flags on top.

    Raises ConfigError: one line with the key path of the first error and how to mend it.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", where=where) from None
    for section, keys in (overrides or {}).items():
        target = data.setdefault(section, {})
        if isinstance(target, dict):
            _merge(target, keys)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, where) from None


def load(root: Path, overrides: dict[str, Any] | None = None) -> Config:
    """The config of the repository at ``root``; the defaults when it has no file. Raises ConfigError."""
    path = root / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: {error}", where=str(path), mend="Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse(text, str(path), overrides)


def complaint(section: str, key: str, value: object) -> str:
    """What is wrong with one value by itself, whatever else is configured; "" when nothing is."""
    try:
        Config.model_validate({section: {key: value}})
    except ValidationError as error:
        return next((_said(problem) for problem in error.errors() if problem["loc"][:2] == (section, key)), "")
    return ""


def schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    return Config.model_json_schema()


def _merge(target: dict[str, Any], keys: dict[str, Any]) -> None:
    for key, value in keys.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif value is not None:
            target[key] = value


def _explain(error: ValidationError, where: str) -> ConfigError:
    problems = error.errors()
    first = problems[0]
    path = ".".join(str(part) for part in first["loc"]) or "the file"
    what, mend = _said(first), ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        what = "unknown key"
        mend = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
    elif len(problems) > 1:
        mend = f"({len(problems) - 1} more after this one.)"
    return ConfigError(f"{path}: {what}", where=where, mend=mend)


def _said(problem: ErrorDetails) -> str:
    what = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = problem.get("input")
    return f"{what} (given: {given!r})" if isinstance(given, (str, int, float, bool)) else what


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in loc:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        args = getattr(inner, "__args__", ())
        candidate = next((a for a in (inner, *args) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if candidate is None:
            return []
        model = candidate
    return sorted(field.alias or name for name, field in model.model_fields.items())
