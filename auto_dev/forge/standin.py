"""A local GitHub stand-in, for the demo and for tests: drafts, labels and a page to read, on loopback, in one file.

    python -m auto_dev.forge.standin --state FILE [--port 0] [--repository owner/name] [--git-dir BARE]

It is no GitHub: it knows the requests that auto-dev sends and checks the main things that GitHub checks. Every
changing request is a line in ``<state>.log``, so that a test can judge that effects happened exactly once.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from auto_dev.errors import AutoDevError
from auto_dev.forge.standin_app import StandInApp
from auto_dev.forge.standin_page import index_page, pull_page
from auto_dev.forge.standin_state import Act, Json, RefusalError, StandInState, invalid
from auto_dev.forge.standin_talk import Talk

NAME: Final = "local GitHub stand-in"
TOKEN_VARIABLE: Final = "AUTO_DEV_STANDIN_TOKEN"  # noqa: S105 (a name, no secret)
HOST: Final = "127.0.0.1"
_MAX_REQUEST = 4 * 1024 * 1024

Clock = Callable[[], datetime]
Handler = Callable[["StandIn", re.Match[str], dict[str, str], Json], tuple[int, Any]]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class StandIn:
    """The stand-in as a server in threads of this process.

    ``token`` is the only one it takes, beside those that it gives to ``app``; None: any. With ``git_dir``, a bare
    repository, branches must exist there.
    It comes back on the port that it had, so that links stay good.
    """

    def __init__(
        self,
        state: Path,
        *,
        repository: str = "local/project",
        token: str | None = None,
        git_dir: Path | None = None,
        port: int = 0,
        clock: Clock = _utc_now,
        app: StandInApp | None = None,
    ) -> None:
        self.state = StandInState(state, repository, git_dir, clock)
        self.talk = Talk(self.state)
        self.log = state.with_name(f"{state.name}.log")
        self._token = token
        self._port = port
        self._app = app
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        return NAME

    @property
    def repository(self) -> str:
        return self.state.repository

    @property
    def url(self) -> str:
        """The address for ``[forge] api_url``."""
        return self.state.url

    def page(self, number: int) -> str:
        """Where a person reads the pull request."""
        return f"{self.url}/{self.repository}/pull/{number}"

    def pulls(self) -> list[Json]:
        """Every pull request as stored, oldest first."""
        with self.state.lock:
            return [dict(stored) for stored in self.state.data["pulls"].values()]

    def changes(self) -> list[Json]:
        """Every changing request that ever came: {"at", "method", "path", "status"}."""
        try:
            return [json.loads(each) for each in self.log.read_text("utf-8").splitlines()]
        except FileNotFoundError:
            return []

    def act(self, number: int, what: Act, *, by: str = "", merge_sha: str = "") -> None:
        """Do what a person would do in a browser: merge, close, open again, leave draft."""
        self.state.act(number, what, by, merge_sha)

    def say(
        self,
        number: int,
        body: str,
        *,
        author: str = "ann",
        association: str = "MEMBER",
        path: str = "",
        line: int | None = None,
        verdict: str = "",
    ) -> int:
        """Write as a person: a comment, one on a line (``path``), or a review with a ``verdict``; returns its id."""
        return self.talk.say(number, body, author, association, path=path, line=line, verdict=verdict)

    def check(
        self,
        number: int,
        name: str,
        conclusion: str = "",
        *,
        summary: str = "",
        annotations: Sequence[Json] = (),
        status_only: bool = False,
        sha: str = "",
    ) -> None:
        """Be a CI service: a check run of the head (or of ``sha``), or a commit status.

        Without a ``conclusion`` it is running. ``annotations``: [{"path", "line", "message"}].
        """
        self.talk.check(
            number, name, conclusion, summary=summary, annotations=annotations, status_only=status_only, sha=sha
        )

    def set_mergeable(self, number: int, mergeable: bool | None) -> None:
        """Say whether the pull request conflicts with its base (False), as GitHub works it out some time later."""
        self.state.set_mergeable(number, mergeable)

    def start(self) -> StandIn:
        """Listen. Raises OSError when the wanted port is taken."""
        wanted = self._port or int(self.state.data.get("port", 0))
        try:
            self._server = _Server((HOST, wanted), self)
        except OSError:
            if self._port:
                raise
            self._server = _Server((HOST, 0), self)
        self.state.data["port"] = self._server.server_address[1]
        self.state.url = f"http://{HOST}:{self.state.data['port']}"
        self.state.save()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=NAME, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and let answers that are being written end. May be called twice."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join()
            server.server_close()

    def __enter__(self) -> StandIn:
        return self.start()

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, method: str, target: str, authorization: str, raw: bytes) -> tuple[int, Any]:
        """The answer to an API request: status and JSON."""
        split = urlsplit(target)
        with self.state.lock:
            try:
                status, value = self._route(method, split.path, dict(parse_qsl(split.query)), authorization, raw)
            except RefusalError as refusal:
                status, value = refusal.status, refusal.answer
            if method != "GET":
                self._note(method, split.path, status)
        return status, value

    def _route(self, method: str, path: str, query: dict[str, str], authorization: str, raw: bytes) -> tuple[int, Any]:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() not in ("bearer", "token"):
            raise RefusalError(401, "Bad credentials")
        root = f"/repos/{self.repository}"
        if self._app is not None and (path.startswith("/app/") or path == f"{root}/installation"):
            self._app.check_jwt(given, self.state.clock())
            return self._app.answer(
                method, path, _json(raw), url=self.url, repository=self.repository, clock=self.state.clock
            )
        self._authorise(given, method, path)
        if path.lower() != root.lower() and not path.lower().startswith(f"{root.lower()}/"):
            raise RefusalError(404, "Not Found")
        for allowed, pattern, handler in _ROUTES:
            found = pattern.fullmatch(path[len(root) :])
            if method == allowed and found:
                return handler(self, found, query, _json(raw))
        raise RefusalError(404, "Not Found")

    def _authorise(self, given: str, method: str, path: str) -> None:
        known = bool(given) if self._token is None else hmac.compare_digest(given.encode(), self._token.encode())
        if self._app is not None and not known:
            self._app.check_token(given, method, path, self.state.clock())
        elif not known:
            raise RefusalError(401, "Bad credentials")

    def _note(self, method: str, path: str, status: int) -> None:
        entry = {"at": self.state.clock().isoformat(), "method": method, "path": path, "status": status}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _json(raw: bytes) -> Json:
    if not raw:
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        raise RefusalError(400, "Problems parsing JSON") from None
    if not isinstance(value, dict):
        raise invalid()
    return value


def _cut(rows: list[Json], query: dict[str, str]) -> tuple[int, Any]:
    """The page of a list that was asked for."""
    size = min(_positive(query.get("per_page", ""), 30), 100)
    page = _positive(query.get("page", ""), 1)
    return 200, rows[(page - 1) * size : page * size]


def _positive(text: str, default: int) -> int:
    return (int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0) or default


_ROUTES: Final[tuple[tuple[str, re.Pattern[str], Handler], ...]] = (
    ("GET", re.compile(r""), lambda s, _f, _q, _b: (200, s.state.repository_answer())),
    ("GET", re.compile(r"/pulls"), lambda s, _f, q, _b: _cut(s.state.pulls(q), q)),
    ("POST", re.compile(r"/pulls"), lambda s, _f, _q, b: (201, s.state.create(b))),
    ("GET", re.compile(r"/pulls/(\d{1,9})"), lambda s, f, _q, _b: (200, s.state.pull(int(f[1])))),
    ("PATCH", re.compile(r"/pulls/(\d{1,9})"), lambda s, f, _q, b: (200, s.state.patch(int(f[1]), b))),
    ("GET", re.compile(r"/branches/([^/]+)"), lambda s, f, _q, _b: (200, s.state.branch(unquote(f[1])))),
    ("GET", re.compile(r"/labels/([^/]+)"), lambda s, f, _q, _b: (200, s.state.label(unquote(f[1])))),
    ("POST", re.compile(r"/labels"), lambda s, _f, _q, b: (201, s.state.create_label(b))),
    ("POST", re.compile(r"/issues/(\d{1,9})/labels"), lambda s, f, _q, b: (200, s.state.add_labels(int(f[1]), b))),
    ("GET", re.compile(r"/issues/(\d{1,9})"), lambda s, f, _q, _b: (200, s.talk.issue(int(f[1])))),
    (
        "GET",
        re.compile(r"/issues/(\d{1,9})/comments"),
        lambda s, f, q, _b: _cut(s.talk.comments(int(f[1]), q), q),
    ),
    ("POST", re.compile(r"/issues/(\d{1,9})/comments"), lambda s, f, _q, b: (201, s.talk.add_comment(int(f[1]), b))),
    (
        "GET",
        re.compile(r"/pulls/(\d{1,9})/comments"),
        lambda s, f, q, _b: _cut(s.talk.line_comments(int(f[1]), q), q),
    ),
    ("GET", re.compile(r"/pulls/(\d{1,9})/reviews"), lambda s, f, q, _b: _cut(s.talk.reviews(int(f[1])), q)),
    ("GET", re.compile(r"/commits/([0-9a-f]+)/check-runs"), lambda s, f, _q, _b: (200, s.talk.check_runs(f[1]))),
    ("GET", re.compile(r"/commits/([0-9a-f]+)/status"), lambda s, f, _q, _b: (200, s.talk.statuses(f[1]))),
    (
        "GET",
        re.compile(r"/check-runs/(\d{1,9})/annotations"),
        lambda s, f, q, _b: _cut(s.talk.annotations(int(f[1])), q),
    ),
)


class _Server(ThreadingHTTPServer):
    # Threads are joined in server_close; each ends with its one answer or with the handler's timeout.
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], standin: StandIn) -> None:
        self.standin = standin
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no news; everything else is printed by the base class."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "auto-dev-standin"
    timeout = 5
    server: _Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _MAX_REQUEST:
            self._send(413, "application/json", b'{"message": "too large"}')
            return
        raw = self.rfile.read(int(length))
        if self.headers.get("host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
            self._send(421, "application/json", b'{"message": "not this host"}')  # a page that rebinds its name
            return
        if self.command == "GET" and not self.path.startswith(("/repos/", "/app/")):
            self._send_page()
            return
        status, value = self.server.standin.answer(self.command, self.path, self.headers.get("authorization", ""), raw)
        raw = json.dumps(value).encode()
        etag = f'"{hashlib.sha256(raw).hexdigest()}"' if self.command == "GET" and status == 200 else ""
        if etag and self.headers.get("if-none-match") == etag:
            status, raw = 304, b""
        self._send(status, "application/json; charset=utf-8", raw, etag)

    def _send_page(self) -> None:
        standin = self.server.standin
        with standin.state.lock:
            if self.path == "/":
                page = index_page(NAME, standin.repository, standin.pulls())
            else:
                found = re.fullmatch(rf"/{re.escape(standin.repository)}/pull/(\d{{1,9}})", self.path)
                number = found[1] if found else ""
                stored = standin.state.data["pulls"].get(number)
                page = pull_page(NAME, standin.repository, stored) if stored else ""
        self._send(200 if page else 404, "text/html; charset=utf-8", (page or "<p>Not found</p>").encode())

    def _send(self, status: int, content_type: str, raw: bytes, etag: str = "") -> None:
        self.send_response(status)
        if etag:
            self.send_header("etag", etag)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(raw)))
        self.send_header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("x-content-type-options", "nosniff")
        self.send_header("connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(raw)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date of an answer: by the stand-in's clock."""
        return super().date_time_string(
            self.server.standin.state.clock().timestamp() if timestamp is None else timestamp
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Requests are in the log file, not on the terminal."""


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m auto_dev.forge.standin", description=f"A {NAME}.")
    parser.add_argument("--state", type=Path, required=True, help="the JSON file that holds everything")
    parser.add_argument("--port", type=int, default=0, help="0: the port it had before, or any free one")
    parser.add_argument("--repository", default="local/project", help="owner/name")
    parser.add_argument("--git-dir", type=Path, default=None, help="a bare repository in which branches must exist")
    given = parser.parse_args(argv)
    done = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: done.set())
    try:
        standin = StandIn(
            given.state,
            repository=given.repository,
            token=os.environ.get(TOKEN_VARIABLE) or None,
            git_dir=given.git_dir,
            port=given.port,
        )
        with standin:
            sys.stdout.write(f"{NAME} at {standin.url} for {standin.repository}\n")
            sys.stdout.flush()
            done.wait()
    except (AutoDevError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
