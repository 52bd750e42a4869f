"""A GitHub that others wrote (emulate), behind a proxy that refuses what GitHub does not describe (prism)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from auto_dev.config import ForgeConfig
from auto_dev.forge.allowance import Allowance
from auto_dev.forge.base import DraftSpec, Watched
from auto_dev.forge.credentials import StaticToken
from auto_dev.forge.github_app import AppTokens
from auto_dev.forge.marks import BEGIN, marker
from auto_dev.model import PullState
from tests.github_support import DESCRIPTION, NOW, Clock, github

BIN = Path(__file__).parents[2] / ".agents" / "bin"
PEERS = [BIN / "emulate", BIN / "prism"]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not all(peer.exists() for peer in PEERS), reason="`./dev peers` installs emulate and prism"),
]

REPOSITORY = "octocat/hello"
OWNER = "tok-owner"
SPEC = DraftSpec("auto-dev/A-1", "main", "A-1: title", f"{BEGIN}\n\nwords\n\n{marker('A-1', 'r1')}\n", ("auto-dev",))
NEXT = DraftSpec("auto-dev/A-1", "main", "A-1: title", f"{BEGIN}\n\nnewer\n\n{marker('A-1', 'r2')}\n", ("auto-dev",))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(argv: list[str], url: str, log: Path, **env: str) -> Iterator[psutil.Process]:
    """A program that runs until the block ends, from when it answers at ``url``."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, env={"PATH": os.environ["PATH"], "HOME": str(log.parent), **env},
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=12), timeout=30) as client:
            client.get(url)
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def key() -> Any:
    return generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory, key: Any) -> Iterator[tuple[str, str]]:
    """The addresses of prism, and of emulate behind it, with a repository that has a branch auto-dev/A-1."""
    folder = tmp_path_factory.mktemp("emulate")
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    owner, name = REPOSITORY.split("/")
    rights = {"contents": "write", "pull_requests": "write", "issues": "write", "checks": "read", "statuses": "read"}
    installed = [{"installation_id": 100, "account": owner, "repository_selection": "all"}]
    app = {"app_id": 12345, "slug": "auto-dev", "name": "auto-dev", "private_key": pem, "permissions": rights,
           "events": [], "installations": installed}  # fmt: skip
    seed = {
        "tokens": {OWNER: {"login": owner, "scopes": ["repo"]}},
        "github": {
            "users": [{"login": owner, "name": owner, "email": "o@example.com"}],
            "repos": [{"owner": owner, "name": name, "auto_init": True}],
            "apps": [app],
        },
    }
    (folder / "seed.yaml").write_text(json.dumps(seed))  # JSON is YAML
    (folder / "github.json").write_text(json.dumps(for_prism(json.loads(DESCRIPTION.read_text()))))
    shutil.copy(DESCRIPTION.parent / "loopback.cjs", folder)
    back, front = free_port(), free_port()
    emulate = [str(BIN / "emulate"), "start", "-s", "github", "-p", str(back), "--seed", str(folder / "seed.yaml")]
    url, direct = f"http://127.0.0.1:{front}", f"http://127.0.0.1:{back}"
    prism = [str(BIN / "prism"), "proxy", "-p", str(front), str(folder / "github.json"), direct, "--errors"]
    require = f"--require={folder / 'loopback.cjs'}"
    with program(emulate, direct, folder / "emulate.log", NODE_OPTIONS=require) as process:
        listening = [each for each in process.net_connections() if each.status == psutil.CONN_LISTEN]
        assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
        make_branch(direct)
        with program(prism, f"{url}/repos/{REPOSITORY}", folder / "prism.log"):
            yield url, direct


def for_prism(description: dict[str, Any]) -> dict[str, Any]:
    """Requests are judged, answers are not: emulate's do not all fit, and ours are held against it elsewhere.

    Prism answers 406 to GitHub's own media type unless the description lists it.
    """
    media: dict[str, Any] = {kind: {"schema": {}} for kind in ("application/json", "application/vnd.github+json")}
    for methods in description["paths"].values():
        for operation in methods.values():
            for status in operation["responses"]:
                operation["responses"][status] = {"description": "", "content": media}
    return description


def make_branch(direct: str) -> None:
    """What a push would have made."""
    with httpx.Client(base_url=f"{direct}/repos/{REPOSITORY}", headers={"authorization": f"Bearer {OWNER}"}) as client:
        sha = client.get("/branches/main").json()["commit"]["sha"]
        client.post("/git/refs", json={"ref": "refs/heads/auto-dev/A-1", "sha": sha}).raise_for_status()
        content = {"message": "m", "content": base64.b64encode(b"x").decode(), "branch": "auto-dev/A-1"}
        client.put("/contents/src.txt", json=content).raise_for_status()


def test_prism_refuses_what_github_does_not_describe(emulated: tuple[str, str]) -> None:
    url, _ = emulated
    headers = {"authorization": f"Bearer {OWNER}", "accept": "application/vnd.github+json"}
    with httpx.Client(base_url=f"{url}/repos/{REPOSITORY}", headers=headers, timeout=30) as client:
        assert client.put("/pulls/1/merge", json={}).status_code in (404, 405)
        assert client.post("/pulls", json={"title": "no head and no base", "draft": True}).status_code == 422
        assert client.get("/pulls", params={"state": "merged"}).status_code == 422


async def test_a_draft_its_second_run_and_its_comment_as_a_token_and_as_an_app(
    emulated: tuple[str, str], key: Any
) -> None:
    url, direct = emulated
    transport = httpx.AsyncHTTPTransport()
    try:
        await exercise(url, direct, transport, key)
    finally:
        await transport.aclose()


async def exercise(url: str, direct: str, transport: httpx.AsyncBaseTransport, key: Any) -> None:
    token = github(url, transport, credentials=StaticToken(OWNER), repository=REPOSITORY)
    assert [each.level for each in await token.examine("main")][:1] == ["ok"]
    pull = await token.ensure_draft(SPEC)
    assert (pull.state, pull.branch, pull.base) == (PullState.DRAFT, "auto-dev/A-1", "main")
    assert await token.ensure_draft(SPEC) == pull

    # Its clock is the real one, and tells ours.
    config = ForgeConfig(kind="github", repository=REPOSITORY, api_url=url, app_id=12345, installation_id=100)
    credentials = AppTokens(config, key, clock=lambda: NOW, transport=transport)
    app = github(url, transport, credentials=credentials, repository=REPOSITORY)
    assert (await app.ensure_draft(NEXT)).number == pull.number
    address = await app.comment(pull.number, "Done.", "k1")
    assert await app.comment(pull.number, "Done.", "k1") == address

    with httpx.Client(base_url=f"{direct}/repos/{REPOSITORY}", headers={"authorization": f"Bearer {OWNER}"}) as client:
        [stored] = client.get("/pulls", params={"state": "all"}).json()
        assert (stored["draft"], "newer" in stored["body"]) == (True, True)
        assert [label["name"] for label in client.get(f"/issues/{pull.number}/labels").json()] == ["auto-dev"]
        assert len(client.get(f"/issues/{pull.number}/comments").json()) == 1
        client.post(f"/issues/{pull.number}/comments", json={"body": "please rename it"}).raise_for_status()
        [granted] = httpx.get(f"{direct}/_emulate/installation-tokens").json()["installation_tokens"]
        assert (granted["repository_selection"], len(granted["repository_ids"])) == ("selected", 1)
        assert granted["permissions"].items() >= {"pull_requests": "write", "checks": "read"}.items()

    digest = await token.news([Watched(pull.number)], Allowance(100, Clock()))
    assert digest.troubles == {}
    [news] = digest.news
    assert [remark.body for remark in news.remarks] == ["please rename it"]
    assert news.checks is not None
