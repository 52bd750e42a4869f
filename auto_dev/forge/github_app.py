"""A GitHub App: its private key makes short-lived tokens for one repository, with no more rights than are needed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import Field, ValidationError

from auto_dev.config import ForgeConfig
from auto_dev.errors import ForgeError
from auto_dev.forge.base import ForgeUnavailableError
from auto_dev.forge.credentials import hidden
from auto_dev.forge.github_answers import Answer, UserAnswer
from auto_dev.forge.github_client import Clock, GitHubClient, Patience, RefusedError, Sleep
from auto_dev.forge.github_requests import APP_ALLOWED, PERMISSIONS, REPOSITORY
from auto_dev.text import line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY: Final = "GITHUB_APP_PRIVATE_KEY"
KEY_FILE: Final = "GITHUB_APP_PRIVATE_KEY_FILE"
# GitHub takes a JWT that is good for 10 minutes at most, and advises to date it a minute back.
BACKDATED: Final = timedelta(seconds=60)
JWT_LIFE: Final = timedelta(minutes=9)
RENEW_BEFORE: Final = timedelta(minutes=5)  # a token lives for an hour; a push may take some of it
NEEDED: Final = ("contents", "pull_requests")  # without the others something cannot be read, but work goes on


class InstallationAnswer(Answer):
    id: int
    app_slug: str = ""
    account: UserAnswer | None = None
    permissions: dict[str, str] = Field(default_factory=dict)
    repository_selection: str = ""
    suspended_at: datetime | None = None


class TokenAnswer(Answer):
    token: str
    expires_at: datetime
    permissions: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """An installation's token. ``permissions`` are those it has, ``missing`` those it was not given."""

    token: str = field(repr=False)
    expires_at: datetime
    installation: int
    app: str
    permissions: dict[str, str]

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(f"{name}: {level}" for name, level in PERMISSIONS.items() if name not in self.permissions)


class _Jwt(httpx.Auth):
    """Signs requests as the App itself. A clock that is wrong here is found by the server's Date, and allowed for."""

    def __init__(self, app_id: str, key: RSAPrivateKey, clock: Clock) -> None:
        self._app_id = app_id
        self._key = key
        self._clock = clock
        self.skew = timedelta(0)

    def __repr__(self) -> str:
        return "_Jwt(…)"

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        used = self.skew
        request.headers["authorization"] = f"Bearer {self._signed()}"
        response = yield request
        self._note(response)
        if response.status_code == 401 and abs(self.skew - used) > timedelta(seconds=5):
            request.headers["authorization"] = f"Bearer {self._signed()}"
            yield request

    def _signed(self) -> str:
        import jwt

        now = self._clock() + self.skew
        claims = {"iss": self._app_id, "iat": _seconds(now - BACKDATED), "exp": _seconds(now + JWT_LIFE)}
        return jwt.encode(claims, self._key, algorithm="RS256")

    def _note(self, response: httpx.Response) -> None:
        try:
            self.skew = parsedate_to_datetime(response.headers["date"]).astimezone(UTC) - self._clock()
        except (KeyError, ValueError):
            return  # a server without a clock tells nothing about ours


class AppTokens:
    """Tokens of one App for one repository, each kept until shortly before its end. Shared by requests and pushes."""

    kind = "app"

    def __init__(
        self,
        config: ForgeConfig,
        key: RSAPrivateKey,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        patience: Patience | None = None,
    ) -> None:
        self._config = config
        self._repository = config.repository or ""
        self._clock = clock
        self._jwt = _Jwt(str(config.app_id), key, clock)
        self._client = GitHubClient(
            self._repository, config.api_url, auth=self._jwt, hide=self.hide, allowed=APP_ALLOWED, root="",
            transport=transport, clock=clock, sleep=sleep, jitter=jitter, patience=patience or Patience(),
        )  # fmt: skip
        self._grant: Grant | None = None
        self._lock = asyncio.Lock()
        self._seen: list[str] = []

    def __repr__(self) -> str:
        return f"AppTokens({self._config.app_id}, {self._repository!r})"

    async def token(self) -> str:
        return (await self.grant()).token

    async def grant(self) -> Grant:
        """The present token with what it may do; a new one in good time before the old one ends."""
        async with self._lock:
            now = self._clock() + self._jwt.skew
            grant = self._grant
            if grant is None or grant.expires_at - now <= RENEW_BEFORE:
                try:
                    grant = self._grant = await self._new()
                except ForgeUnavailableError:
                    if grant is None or grant.expires_at <= now:
                        raise
                    # The old one still holds for some minutes.
            return grant

    async def refused(self, token: str) -> bool:
        async with self._lock:
            if self._grant is not None and self._grant.token == token:
                self._grant = None
        return True

    def hide(self, text: str) -> str:
        for token in self._seen:
            text = hidden(text, token)
        return text

    async def close(self) -> None:
        await self._client.close()

    async def _new(self) -> Grant:
        try:
            found = InstallationAnswer.model_validate(await self._client.get(self._place()))
            self._check(found)
            asked = {name: _lesser(level, found.permissions[name]) for name, level in PERMISSIONS.items()
                     if name in found.permissions}  # fmt: skip
            body = {"repositories": [self._repository.split("/")[1]], "permissions": asked}
            path = f"/app/installations/{found.id}/access_tokens"
            made = TokenAnswer.model_validate(await self._client.post(path, body, repeat=True))
        except RefusedError as error:
            raise self._explained(error) from None
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise ForgeError(
                f"GitHub's answer about the App is not what it publishes ({where})", where="forge.api_url"
            ) from None
        self._seen = [*self._seen[-3:], made.token]
        return Grant(made.token, made.expires_at, found.id, line(found.app_slug, 100), made.permissions or asked)

    def _place(self) -> str:
        if self._config.installation_id is not None:
            return f"/app/installations/{self._config.installation_id}"
        return f"{REPOSITORY.replace('{owner}/{repo}', self._repository)}/installation"

    def _check(self, found: InstallationAnswer) -> None:
        if found.suspended_at is not None:
            raise ForgeError(
                f"the App's installation {found.id} is suspended",
                where="forge.app_id",
                mend="Lift that in the settings of the account where it is installed.",
            )
        lacking = [name for name in NEEDED if found.permissions.get(name) not in ("write", "admin")]
        if lacking:
            raise ForgeError(
                f"the App may not do what is needed in {self._repository}: {', '.join(f'{n}: write' for n in lacking)}",
                where="forge.app_id",
                mend="Give it these permissions, and accept them in the settings of the account where it is installed.",
            )

    def _explained(self, error: RefusedError) -> ForgeError:
        """As a plain error: to a caller that asked for something else, a 404 of ours would mean another thing."""
        said = f" ({error.said})" if error.said else ""
        if error.status == 401:
            what, mend = f"GitHub does not accept the App's key{said}", f"Check app_id, and that {KEY} is a key of it."
        elif error.status == 404:
            what = f"the App {self._config.app_id} is not installed where it could see {self._repository}{said}"
            mend = "Install it for this repository, or check installation_id."
        elif error.status == 422:
            what = f"the App's installation does not have {self._repository}, or not the permissions{said}"
            mend = "Add the repository in the installation's settings, and accept its permissions."
        else:
            return ForgeError(error.what, where="forge.app_id", mend=error.mend)
        return ForgeError(what, where="forge.app_id", mend=mend)


def private_key(secrets: Callable[[str], str | None]) -> RSAPrivateKey:
    """The App's key: from the environment or keyring, or from a file that it names. Raises ForgeError."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    where, text = KEY, (secrets(KEY) or "").strip()
    if not text:
        where, path = KEY_FILE, (secrets(KEY_FILE) or "").strip()
        if not path:
            raise ForgeError(
                "there is no private key of the GitHub App",
                where=KEY,
                mend=f"Set {KEY}, or {KEY_FILE} to a file that holds it; the App's settings page makes one.",
            )
        try:
            text = Path(path).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ForgeError(f"the App's private key cannot be read: {why}", where=KEY_FILE) from None
    try:
        # Tools that keep one line per variable write a line's end as \n.
        key: Any = load_pem_private_key(text.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        mend = "It begins with -----BEGIN RSA PRIVATE KEY----- and has no passphrase."
        raise ForgeError("not a private key as GitHub makes it", where=where, mend=mend)
    return key


def _lesser(wanted: str, given: str) -> str:
    return "read" if "read" in (wanted, given) else wanted


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
