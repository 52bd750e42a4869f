"""Talking to a remote: the only git processes that see the user's own git configuration, ssh agent and credentials."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from auto_dev.errors import GitError
from auto_dev.text import line
from auto_dev.worktrees.folders import write_atomically
from auto_dev.worktrees.git import Git, GitTimeoutError, Output
from auto_dev.worktrees.names import display_url, require_url

_PASSED = (
    "HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "USER", "LOGNAME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSH",
    "DBUS_SESSION_BUS_ADDRESS", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "GIT_SSL_CAINFO", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "NO_PROXY",
)  # fmt: skip

# Answers git from an inherited descriptor, so that the token is in no argument, no file and no environment, and only
# for the host that the token is for: a redirect to another one gets nothing.
_ASKPASS = """\
#!/bin/sh
case "$1" in
*"//$AUTO_DEV_GIT_HOST'"* | *"@$AUTO_DEV_GIT_HOST'"*) ;;
*) exit 1 ;;
esac
case "$1" in
Username*) echo x-access-token ;;
*) IFS= read -r token <"/dev/fd/$AUTO_DEV_GIT_FD" && printf '%s\\n' "$token" ;;
esac
"""
# A dead connection ends by itself: nobody is there to press ^C.
_HTTP_HOST = re.compile(r"https?://(?:[^/@]*@)?([^/]+)")
_HTTP = ("http.lowSpeedLimit=1000", "http.lowSpeedTime=60")
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"


class RemoteFault(StrEnum):
    """Why a remote did not do what was asked. Only ``NETWORK`` is worth trying again unchanged."""

    NETWORK = "network"
    AUTH = "auth"  # who we are is unknown or not allowed
    REFUSED = "refused"  # a hook or a protection said no
    MOVED = "moved"  # somebody else changed the branch
    MISSING = "missing"  # no such repository
    OTHER = "other"


class RemoteError(GitError):
    """A remote refused or cannot be reached."""

    def __init__(self, what: str, *, where: str = "", mend: str = "", kind: RemoteFault) -> None:
        super().__init__(what, where=where, mend=mend)
        self.kind = kind

    @property
    def retryable(self) -> bool:
        return self.kind is RemoteFault.NETWORK


class Tokens(Protocol):
    """Where the token for https comes from: asked anew for every connection, since some live for an hour only."""

    async def token(self) -> str:
        """One that is good for the next minutes."""
        ...

    async def refused(self, token: str) -> bool:
        """The remote does not take ``token``; returns whether another one is worth one more try."""
        ...


@dataclass(frozen=True, slots=True)
class Remote:
    """Where to push or fetch: a literal address, how ssh is started ("" for the default), tokens for https."""

    url: str
    ssh_command: str = ""
    tokens: Tokens | None = field(default=None, repr=False)


_NETWORK = re.compile(
    r"Could not resolve|Connection (?:refused|timed out|reset|closed)|Network is unreachable|No route to host|timed out"
    r"|early EOF|hung up unexpectedly|RPC failed|HTTP (?:429|5\d\d)|error: 5\d\d|Failed to connect|Couldn't connect"
    r"|Operation too slow|TLS|SSL|unexpected disconnect|Temporary failure",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|Permission denied \(|Permission to .* denied"
    r"|terminal prompts disabled|HTTP (?:401|403)|error: (?:401|403)|Host key verification failed|Invalid username",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"declined|protected branch|remote rejected|denied by|GH\d{3}|cannot lock ref|directory file conflict",
    re.IGNORECASE,
)
_MOVED = re.compile(r"stale info|fetch first|non-fast-forward", re.IGNORECASE)
_MISSING = re.compile(
    r"not found|does not appear to be a git repository|does not exist|HTTP 404|error: 404", re.IGNORECASE
)
_MENDS = {
    RemoteFault.NETWORK: "It is tried again.",
    RemoteFault.AUTH: "Give auto-dev access: an ssh agent, a credential helper, or a token in the environment.",
    RemoteFault.REFUSED: "Allow branches auto-dev/* on the remote.",
    RemoteFault.MOVED: "Somebody else pushed to this branch: rename or delete it on the remote.",
    RemoteFault.MISSING: "Check the address of the remote.",
    RemoteFault.OTHER: "",
}
_WORKFLOWS = "It changes GitHub's workflows: give the token that right (workflow, Workflows: write), or keep them out."


def classify(text: str) -> RemoteFault:
    """What kind of fault git's words ``text`` mean. Pure."""
    # A stale lease and a declined hook both say "rejected": the more telling word is looked for first.
    for pattern, kind in (
        (_MOVED, RemoteFault.MOVED),
        (_AUTH, RemoteFault.AUTH),
        (_REFUSED, RemoteFault.REFUSED),
        (_MISSING, RemoteFault.MISSING),
        (_NETWORK, RemoteFault.NETWORK),
    ):
        if pattern.search(text):
            return kind
    return RemoteFault.OTHER


def remote_error(action: str, remote: Remote, text: str) -> RemoteError:
    """The error for git's words ``text`` (of ``talk``, so without a token); no password of the address is in it."""
    kind = classify(text)
    telling = [
        row
        for row in text.splitlines()
        if row.strip()
        and not row.startswith(("hint:", "warning:", "To ", "Done", "Please make sure", "and the repository"))
    ]
    gist = line(re.sub(r"(?<=://)[^/@\s]+@", "", " / ".join(telling[-4:]))) or "no reason given"
    mend = _WORKFLOWS if kind is RemoteFault.REFUSED and "workflow" in text else _MENDS[kind]
    return RemoteError(gist, where=f"{action} {display_url(remote.url)}", mend=mend, kind=kind)


async def talk(
    git: Git, git_dir: Path, remote: Remote, *args: str, timeout_s: float = 600, config: Sequence[str] = ()
) -> Output:
    """Run ``git ARGS`` against ``remote`` without checking its exit code. Raises RemoteError when it takes too long.

    What git says holds no token. One that the remote does not take is asked for anew, once.
    """
    require_url(remote.url)
    await git.prepare()
    token = await remote.tokens.token() if remote.tokens and _HTTP_HOST.match(remote.url) else ""
    output = await _talk_with(token, git, git_dir, remote, args, timeout_s, config)
    denied = output.code != 0 and classify(output.complaint) is RemoteFault.AUTH
    if denied and token and remote.tokens and await remote.tokens.refused(token):
        token = await remote.tokens.token()
        output = await _talk_with(token, git, git_dir, remote, args, timeout_s, config)
    return output


async def _talk_with(
    token: str,
    git: Git,
    git_dir: Path,
    remote: Remote,
    args: Sequence[str],
    timeout_s: float,
    config: Sequence[str],
) -> Output:
    settings = [*_HTTP, *config]
    async with _asked(git, remote, token) as (fds, extra):
        if token:
            settings.append("credential.helper=")  # or a helper would store the token
        env = {**_environment(git, remote), **extra}
        try:
            output = await git.run(
                *args, git_dir=git_dir, env=env, check=False, timeout_s=timeout_s, config=settings, hold=fds
            )
        except GitTimeoutError:
            raise RemoteError(
                f"no answer within {timeout_s:g} seconds",
                where=f"git {args[0]} {display_url(remote.url)}",
                mend=_MENDS[RemoteFault.NETWORK],
                kind=RemoteFault.NETWORK,
            ) from None
    return output if not token else _without(output, token.encode())


def _without(output: Output, token: bytes) -> Output:
    """``output``, should a remote have echoed the token."""
    return replace(output, stdout=output.stdout.replace(token, b"***"), stderr=output.stderr.replace(token, b"***"))


async def ls_remote(git: Git, git_dir: Path, remote: Remote, *refs: str, timeout_s: float = 60) -> dict[str, str]:
    """Which of ``refs`` (full names or patterns) the remote has, and where they stand. Raises RemoteError."""
    output = await talk(git, git_dir, remote, "ls-remote", "--quiet", remote.url, *refs, timeout_s=timeout_s)
    if output.code != 0:
        raise remote_error("cannot read", remote, output.complaint)
    rows = (row.split("\t", 1) for row in output.text.splitlines() if "\t" in row)
    return {name: sha for sha, name in rows}


def _environment(git: Git, remote: Remote) -> dict[str, str]:
    env = {name: value for name in _PASSED if (value := git.environ.get(name)) is not None}
    host = git.host_env()
    for name in ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_NOSYSTEM"):
        host.pop(name)
    env.update(host)
    env["GIT_CONFIG_GLOBAL"] = str(_global_config(git))
    env["GIT_ALLOW_PROTOCOL"] = "file:http:https:ssh"
    if remote.ssh_command:
        env["GIT_SSH_COMMAND"] = remote.ssh_command
    elif not {"GIT_SSH_COMMAND", "GIT_SSH"} & env.keys():
        env["GIT_SSH_COMMAND"] = _SSH
    return env


def _global_config(git: Git) -> Path:
    """The user's global configuration with ours on top, as one file."""
    home = Path(git.environ.get("HOME", "/"))
    theirs = [git.environ.get("GIT_CONFIG_GLOBAL")] if "GIT_CONFIG_GLOBAL" in git.environ else [
        str(Path(git.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "config"),
        str(home / ".gitconfig"),
    ]  # fmt: skip
    includes = [f"[include]\n\tpath = {_quoted(path)}\n" for path in theirs if path]
    path = git.home / "transport.gitconfig"
    text = "".join(includes) + (git.home / "gitconfig").read_text("utf-8")
    if not path.exists() or path.read_text("utf-8") != text:
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    return path


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@contextlib.asynccontextmanager
async def _asked(git: Git, remote: Remote, token: str) -> AsyncIterator[tuple[tuple[int, ...], Mapping[str, str]]]:
    """The descriptor that holds the token, and the environment that tells git how to ask for it."""
    match = _HTTP_HOST.match(remote.url)
    if not token or match is None:  # ssh and paths have no use for a token
        yield (), {}
        return
    if not token.isascii() or not token.isprintable() or len(token) > 8000:
        raise RemoteError("the token has characters that no token has", mend="Set it again.", kind=RemoteFault.AUTH)
    script = git.home / "askpass"
    if not script.exists():
        write_atomically(script, _ASKPASS.encode(), mode=0o700)
    reader, writer = os.pipe()
    try:
        os.write(writer, f"{token}\n".encode() * 4)  # git may ask more than once
        os.close(writer)
        yield (reader,), {"GIT_ASKPASS": str(script), "AUTO_DEV_GIT_HOST": match[1], "AUTO_DEV_GIT_FD": str(reader)}
    finally:
        os.close(reader)
