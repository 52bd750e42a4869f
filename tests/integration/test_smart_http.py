"""Pushing over real smart HTTP (nginx, fcgiwrap, git-http-backend): the token is asked for, and seen nowhere."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from auto_dev.errors import ExitCode
from auto_dev.forge.standin import StandIn

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
BACKEND = Path("/usr/lib/git-core/git-http-backend")
PROGRAMS = [shutil.which(name, path=PATH) for name in ("nginx", "fcgiwrap")]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (all(PROGRAMS) and BACKEND.exists()), reason="nginx or fcgiwrap is not installed"),
]

TOKEN = "ghs_" + "canary" * 5
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log; client_max_body_size 0;
  client_body_temp_path {folder}/body; fastcgi_temp_path {folder}/fastcgi; proxy_temp_path {folder}/proxy;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      auth_basic "git"; auth_basic_user_file {folder}/users;
      fastcgi_pass unix:{folder}/socket;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {folder}; fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $uri; fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding; fastcgi_param GIT_PROTOCOL $http_git_protocol;
    }}
  }}
}}
"""
# While a push is under way, and everything that takes part in it lives: who shows the token?
LOOK = """#!/bin/sh
cat > /dev/null
for process in /proc/[0-9]*; do
  for file in cmdline environ; do
    grep -a -q -F -f "{folder}/pattern" "$process/$file" 2>/dev/null && echo "$process/$file"
  done
  tr '\\0' '\\n' <"$process/environ" 2>/dev/null | grep -a '^GIT_ASKPASS=' >> "{folder}/asked"
done >> "{folder}/shown"
touch "{folder}/looked"
exit 0
"""
DECLINE = """#!/bin/sh
cat > /dev/null
echo "branches of machines need a ticket" >&2
exit 1
"""


@contextmanager
def running(argv: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, env={"PATH": PATH, "HOME": str(log.parent)}, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def web(short: Path) -> Iterator[str]:
    """The address below which ``short`` has its repositories."""
    folder = short
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users").write_text(f"x-access-token:{{PLAIN}}{TOKEN}\n")
    (folder / "pattern").write_text(TOKEN)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, backend=BACKEND, user=user))
    nginx, fcgiwrap = (str(program) for program in PROGRAMS)
    with ExitStack() as stack:
        stack.enter_context(running([fcgiwrap, "-s", f"unix:{folder}/socket"], folder / "fcgiwrap.log"))
        stack.enter_context(running([nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "out.log"))
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            assert client.get(url).status_code == 401
        yield url


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("git")


@pytest.fixture
def pushing(project: Any, web: str, short: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A project whose remote is behind the server, with the forge's stand-in on the same host."""
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    remote = short / "remote.git"
    with StandIn(short / "github.json", repository="o/r", token=TOKEN, git_dir=remote) as forge:
        made = project({"A-1": []}, f'[forge]\nkind = "github"\nrepository = "o/r"\napi_url = "{forge.url}"\n')
        subprocess.run(["git", "clone", "-q", "--bare", str(made.root), str(remote)], check=True)
        subprocess.run(["git", "remote", "add", "origin", f"{web}/remote.git"], cwd=made.root, check=True)
        yield made


def hook(remote: Path, text: str) -> None:
    path = remote / "hooks" / "pre-receive"
    path.write_text(text)
    path.chmod(0o755)


async def test_the_token_is_asked_for_and_shown_by_no_process(pushing: Any, short: Path) -> None:
    hook(short / "remote.git", LOOK.format(folder=short))
    with subprocess.Popen(["sleep", "600"], env={"PATH": PATH, "CONTROL": TOKEN}) as control:
        try:
            assert await pushing.once() is ExitCode.DONE
        finally:
            control.kill()
    assert (short / "looked").exists()
    assert (short / "shown").read_text() == f"/proc/{control.pid}/environ\n", "only the one that is to be found"
    assert "askpass" in (short / "asked").read_text()
    head = subprocess.run(
        ["git", "rev-parse", "auto-dev/A-1"], cwd=short / "remote.git", check=True, capture_output=True, text=True
    )
    [row] = await pushing.fetch("SELECT head_sha, state FROM pull_requests")
    assert (row["head_sha"], row["state"]) == (head.stdout.strip(), "draft")
    assert ' "GET /remote.git/info/refs?service=git-receive-pack HTTP/1.1" 200 ' in (short / "access.log").read_text()
    kept = [path for path in pushing.home.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == []


async def test_a_refused_push_is_explained_to_a_person(pushing: Any, short: Path) -> None:
    hook(short / "remote.git", DECLINE)
    assert await pushing.once() is ExitCode.WAITS
    [row] = await pushing.fetch("SELECT question, why FROM decisions WHERE status = 'open'")
    said = f"{row['question']} {row['why']}"
    assert "branches of machines need a ticket" in said
    assert "Allow branches auto-dev/* on the remote" in said
    assert TOKEN not in said
