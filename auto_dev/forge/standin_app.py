"""A GitHub App at the local stand-in: its signature is checked as GitHub does, its tokens end and have rights."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from auto_dev.forge.standin_shapes import user
from auto_dev.forge.standin_state import Json, RefusalError, invalid

INSTALLATION: Final = 4242
SLUG: Final = "auto-dev-local"
TOKEN_LIFE: Final = timedelta(hours=1)
ALL: Final = {
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "read",
    "statuses": "read",
    "metadata": "read",
}
_RIGHTS: Final = (
    ("GET", re.compile(r".*/check-runs.*"), "checks", "read"),
    ("GET", re.compile(r".*/commits/[0-9a-f]+/status"), "statuses", "read"),
    ("GET", re.compile(r".*/(pulls|issues).*"), "pull_requests", "read"),
    ("POST", re.compile(r".*"), "pull_requests", "write"),
    ("PATCH", re.compile(r".*"), "pull_requests", "write"),
)


@dataclass
class StandInApp:
    """One App, installed once, for one repository. ``public_key`` is PEM; ``permissions`` what it was given."""

    app_id: str
    public_key: str
    permissions: dict[str, str] = field(default_factory=lambda: dict(ALL))
    suspended: bool = False
    tokens: dict[str, tuple[datetime, dict[str, str]]] = field(default_factory=dict)

    def check_jwt(self, given: str, now: datetime) -> None:
        """Raises RefusalError in GitHub's words."""
        import jwt

        try:
            claims = jwt.decode(
                given, self.public_key, algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False, "require": ["iss", "iat", "exp"]},
            )  # fmt: skip
        except jwt.PyJWTError:
            raise RefusalError(401, "A JSON web token could not be decoded") from None
        iat, exp, at = int(claims["iat"]), int(claims["exp"]), now.timestamp()
        if str(claims["iss"]) != self.app_id:
            raise RefusalError(401, "Integration not found")
        if iat > at:
            said = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            raise RefusalError(401, said)
        if exp <= at:
            raise RefusalError(401, "'Expiration time' claim ('exp') must be a numeric value representing the future")
        if exp > at + 600:
            raise RefusalError(401, "'Expiration time' claim ('exp') is too far in the future")

    def check_token(self, given: str, method: str, path: str, now: datetime) -> None:
        """Raises RefusalError for a token that has ended or may not do this."""
        ends, permissions = self.tokens.get(given, (now, {}))
        if ends <= now:
            raise RefusalError(401, "Bad credentials")
        for wanted_method, pattern, name, level in _RIGHTS:
            if method == wanted_method and pattern.fullmatch(path):
                if permissions.get(name) not in (level, "write"):
                    raise RefusalError(403, "Resource not accessible by integration")
                return

    def answer(
        self, method: str, path: str, body: Json, *, url: str, repository: str, clock: Callable[[], datetime]
    ) -> tuple[int, Any]:
        """The answer to a request that the App signed itself."""
        here = f"/app/installations/{INSTALLATION}"
        if method == "GET" and path in (here, f"/repos/{repository}/installation"):
            return 200, self._installation(url, repository)
        if method == "POST" and path == f"{here}/access_tokens":
            return 201, self._token(body, repository, clock())
        raise RefusalError(404, "Not Found")

    def _token(self, body: Mapping[str, Any], repository: str, now: datetime) -> Json:
        asked: dict[str, str] = body.get("permissions") or self.permissions
        if body.get("repositories", [repository.split("/")[1]]) != [repository.split("/")[1]]:
            raise invalid(message="There is at least one repository that does not exist or is not accessible")
        if any(level == "write" != self.permissions.get(name) or name not in self.permissions
               for name, level in asked.items()):  # fmt: skip
            raise RefusalError(422, "The permissions requested are not granted to this installation.")
        token = f"ghs_{secrets.token_hex(18)}"
        self.tokens[token] = now + TOKEN_LIFE, asked
        return {
            "token": token,
            "expires_at": (now + TOKEN_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": asked,
            "repository_selection": "selected",
        }

    def _installation(self, url: str, repository: str) -> Json:
        api = f"{url}/app/installations/{INSTALLATION}"
        owner = repository.split("/")[0]
        return {
            "id": INSTALLATION,
            "account": user(url, owner),
            "app_id": 1,
            "app_slug": SLUG,
            "target_id": 1,
            "target_type": "User",
            "permissions": self.permissions,
            "events": [],
            "repository_selection": "selected",
            "access_tokens_url": f"{api}/access_tokens",
            "repositories_url": f"{url}/installation/repositories",
            "html_url": f"{url}/settings/installations/{INSTALLATION}",
            "single_file_name": None,
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "suspended_by": None,
            "suspended_at": "2026-01-01T00:00:00Z" if self.suspended else None,
        }
