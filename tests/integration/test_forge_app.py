"""A GitHub App: short-lived tokens for one repository, renewed in time, with a key that is seen nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key

from auto_dev.config import ForgeConfig
from auto_dev.errors import ForgeError
from auto_dev.forge import make_credentials
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import DraftSpec, ForgeUnavailableError, Watched
from auto_dev.forge.body import marker
from auto_dev.forge.github_app import KEY, KEY_FILE, AppTokens, private_key
from auto_dev.forge.standin import StandIn
from auto_dev.forge.standin_app import INSTALLATION, StandInApp
from tests.github_support import CheckedTransport, Clock, Slept, github

pytestmark = pytest.mark.integration

APP = "123456"
SPEC = DraftSpec("auto-dev/A-1", "main", "A-1: title", f"words\n\n{marker('A-1', 'r1')}\n", ("auto-dev",))


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_rsa_key(65537, 2048)


def pem(key: Any) -> str:
    return str(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()
    )


@pytest.fixture
def app(key: RSAPrivateKey) -> StandInApp:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return StandInApp(APP, public.decode())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standin(tmp_path: Path, app: StandInApp, clock: Clock) -> Iterator[StandIn]:
    with StandIn(tmp_path / "forge.json", repository="owner/name", token="nobody's", clock=clock, app=app) as running:
        yield running


def config(standin: StandIn, **more: Any) -> ForgeConfig:
    return ForgeConfig(kind="github", repository="owner/name", api_url=standin.url, app_id=APP, **more)


def tokens(
    standin: StandIn, key: RSAPrivateKey, transport: httpx.AsyncBaseTransport, clock: Any, **more: Any
) -> AppTokens:
    return AppTokens(config(standin, **more), key, clock=clock, transport=transport, sleep=Slept())


@pytest.mark.parametrize("given", [{}, {"installation_id": INSTALLATION}])
async def test_an_app_makes_a_draft(
    standin: StandIn, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock, given: dict[str, int]
) -> None:
    credentials = tokens(standin, key, to_github, clock, **given)
    forge = github(standin.url, to_github, credentials=credentials, clock=clock)
    number = (await forge.ensure_draft(SPEC)).number
    digest = await forge.news([Watched(number)], Allowance(100, clock))
    assert [each.pull.number for each in digest.news] == [1]
    asked = [path for _, path, _ in to_github.seen if "app" in path or "installation" in path]
    place = f"/app/installations/{INSTALLATION}"
    assert asked == [place if given else "/repos/owner/name/installation", f"{place}/access_tokens"]


async def test_the_token_has_no_more_rights_than_are_needed(
    standin: StandIn, app: StandInApp, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    app.permissions |= {"administration": "write", "checks": "write", "actions": "write"}
    grant = await tokens(standin, key, to_github, clock).grant()
    assert grant.permissions == {
        "contents": "write",
        "pull_requests": "write",
        "issues": "write",
        "checks": "read",
        "statuses": "read",
        "metadata": "read",
    }
    assert grant.missing == ()
    assert grant.token not in repr(grant)


async def test_it_is_renewed_before_it_ends_and_shared_by_all_that_ask(
    standin: StandIn, app: StandInApp, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    credentials = tokens(standin, key, to_github, clock)
    first = set(await asyncio.gather(*(credentials.token() for _ in range(20))))
    assert len(first) == len(app.tokens) == 1
    clock.tick(54 * 60)
    assert {await credentials.token()} == first
    clock.tick(2 * 60)
    second = await credentials.token()
    assert second not in first
    assert len(app.tokens) == 2


async def test_one_that_is_taken_back_is_replaced_once(
    standin: StandIn, app: StandInApp, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    credentials = tokens(standin, key, to_github, clock)
    forge = github(standin.url, to_github, credentials=credentials, clock=clock)
    await forge.ensure_draft(SPEC)
    app.tokens.clear()
    assert (await forge.get(1)).number == 1
    assert len(app.tokens) == 1
    [token] = app.tokens
    app.tokens[token] = clock.now, {}  # what is made from now on does not work either
    made = app._token
    app._token = lambda *given: made(*given) | {"token": "ghs_never-good"}  # type: ignore[method-assign]
    seen = len(to_github.seen)
    with pytest.raises(ForgeError, match="does not accept the App"):
        await forge.get(1)
    assert [(path, status) for _, path, status in to_github.seen[seen:] if "pulls" in path] == [
        ("/repos/owner/name/pulls/1", 401),
        ("/repos/owner/name/pulls/1", 401),
    ]


@pytest.mark.parametrize("minutes", [-30, -2, 2, 30])
async def test_a_wrong_clock_here_is_found_by_the_servers_date(
    standin: StandIn, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock, minutes: int
) -> None:
    credentials = tokens(standin, key, to_github, lambda: clock.now + timedelta(minutes=minutes))
    token = await credentials.token()
    clock.tick(54 * 60)
    assert await credentials.token() == token
    clock.tick(2 * 60)
    assert await credentials.token() != token


async def test_while_github_is_away_the_old_one_serves_until_it_ends(
    standin: StandIn, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    away: list[bool] = []

    class Sometimes(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if away:
                raise httpx.ConnectError("refused", request=request)
            return await to_github.handle_async_request(request)

    credentials = tokens(standin, key, Sometimes(), clock)
    token = await credentials.token()
    away.append(True)
    clock.tick(57 * 60)
    assert await credentials.token() == token
    clock.tick(3 * 60)
    with pytest.raises(ForgeUnavailableError, match="cannot be reached"):
        await credentials.token()


async def test_what_does_not_fit_is_one_clear_line(
    standin: StandIn, app: StandInApp, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    async def said(**more: Any) -> str:
        with pytest.raises(ForgeError) as caught:
            await tokens(standin, key, to_github, clock, **more).token()
        return str(caught.value)

    assert "is not installed where it could see owner/name" in await said(installation_id=7)
    app.permissions["contents"] = "read"
    assert "may not do what is needed in owner/name: contents: write" in await said()
    app.permissions["contents"] = "write"
    app.suspended = True
    assert "installation 4242 is suspended" in await said()
    app.suspended = False
    app.app_id = "999"
    assert "does not accept the App's key (Integration not found)" in await said()


async def test_a_right_that_only_reads_may_be_missing_and_is_named(
    standin: StandIn, app: StandInApp, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    del app.permissions["checks"]
    credentials = tokens(standin, key, to_github, clock)
    assert (await credentials.grant()).missing == ("checks: read",)
    forge = github(standin.url, to_github, credentials=credentials, clock=clock)
    number = (await forge.ensure_draft(SPEC)).number
    standin.check(number, "ci/status", "failure", status_only=True)
    [news] = (await forge.news([Watched(number)], Allowance(100, clock))).news
    assert news.checks is not None
    assert [check.name for check in news.checks.failed] == ["ci/status"]
    assert "the App may not do this in owner/name (Resource not accessible by integration)" in news.checks.trouble


async def test_enterprise_has_the_same_below_its_own_path(key: RSAPrivateKey, clock: Clock) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if request.method == "POST":
            assert json.loads(request.content)["repositories"] == ["name"]
            made = {"token": "ghs_0123456789", "expires_at": "2026-02-09T13:00:00Z"}
            return httpx.Response(201, json=made)
        return httpx.Response(200, json={"id": 7, "permissions": {"contents": "write", "pull_requests": "write"}})

    checked = CheckedTransport(httpx.MockTransport(answer), prefix="/api/v3", answers=False)
    enterprise = ForgeConfig(kind="github", repository="owner/name", api_url="https://ghe.example/api/v3", app_id=APP)
    assert await AppTokens(enterprise, key, clock=clock, transport=checked).token() == "ghs_0123456789"
    assert asked == [
        "https://ghe.example/api/v3/repos/owner/name/installation",
        "https://ghe.example/api/v3/app/installations/7/access_tokens",
    ]
    assert checked.broken == []


async def test_key_and_tokens_are_in_no_error_log_or_repr(
    standin: StandIn,
    app: StandInApp,
    key: RSAPrivateKey,
    to_github: CheckedTransport,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = tokens(standin, key, to_github, clock)
    token = await credentials.token()
    forge = github(standin.url, to_github, credentials=credentials, clock=clock)
    await forge.ensure_draft(SPEC)
    clock.tick(3 * 3_600)
    again = await credentials.token()
    secrets = [token, again, *pem(key).splitlines()[1:-1]]
    shown = f"{caplog.text} {credentials!r} {vars(credentials)} {vars(credentials._client)} {vars(forge._client)}"
    shown = shown.replace(repr(credentials._seen), "")  # where it keeps what it must hide
    assert not [secret for secret in secrets if secret in shown]
    assert credentials.hide(f"a {token} b {again}") == "a *** b ***"


def test_the_key_comes_from_the_environment_or_a_file(key: RSAPrivateKey, tmp_path: Path) -> None:
    text, path = pem(key), tmp_path / "key.pem"
    path.write_text(text)
    for secrets in ({KEY: text}, {KEY: text.replace("\n", "\\n")}, {KEY_FILE: str(path)}):
        assert private_key(secrets.get).private_numbers() == key.private_numbers()


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({}, "GITHUB_APP_PRIVATE_KEY: there is no private key of the GitHub App"),
        ({KEY: "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----"}, "not a private key"),
        (
            {KEY_FILE: "/none/key.pem"},
            "GITHUB_APP_PRIVATE_KEY_FILE: the App's private key cannot be read: No such file",
        ),
    ],
)
def test_a_key_that_is_none_is_one_clear_line_without_it(secrets: dict[str, str], said: str) -> None:
    with pytest.raises(ForgeError) as caught:
        private_key(secrets.get)
    assert said in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_key_of_another_kind_or_with_a_passphrase_is_refused(key: RSAPrivateKey) -> None:
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for text in (pem(generate_private_key(SECP256R1())), locked.decode()):
        with pytest.raises(ForgeError, match="not a private key as GitHub makes it"):
            private_key({KEY: text}.get)


def test_the_configuration_chooses_the_app(key: RSAPrivateKey) -> None:
    chosen = ForgeConfig(kind="github", repository="owner/name", app_id="Iv23abc")
    made = make_credentials(chosen, {KEY: pem(key), "GITHUB_TOKEN": "ghp_0123456789"}.get, clock=Clock())
    assert made is not None
    assert made.kind == "app"


async def test_doctor_tells_of_app_repository_branch_and_what_is_missing(
    standin: StandIn, app: StandInApp, key: RSAPrivateKey, to_github: CheckedTransport, clock: Clock
) -> None:
    del app.permissions["checks"]
    forge = github(standin.url, to_github, credentials=tokens(standin, key, to_github, clock), clock=clock)
    seen = [(each.level, each.text) for each in await forge.examine("main")]
    assert [level for level, _ in seen] == ["ok", "warning", "ok", "ok", "warning"]
    said = " / ".join(text for _, text in seen)
    for part in (
        "App auto-dev-local, installation 4242",
        "the App lacks checks: read",
        "owner/name can be read; its default branch is main",
        "main is not protected",
        "checks cannot be read, so failed ones are not noticed: the App may not do this",
    ):
        assert part in said
    app.permissions.pop("contents")
    [refused] = await github(
        standin.url, to_github, credentials=tokens(standin, key, to_github, clock), clock=clock
    ).examine("main")
    assert refused.level == "error"
