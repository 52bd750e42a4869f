"""No credential leaves, in whatever commit, and none is shown anywhere: through the whole daemon."""

from __future__ import annotations

import asyncio
import secrets
import string
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from auto_dev.errors import ExitCode
from auto_dev.nodes import publish
from auto_dev.worktrees.edit import commit_file

pytestmark = pytest.mark.integration

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def github_token() -> str:
    """A token of the right form with its checksum: made when it is needed, so that no scanner stumbles over it here."""
    body = "".join(secrets.choice(_BASE62) for _ in range(30))
    number, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        check = _BASE62[rest] + check
    return f"ghp_{body}{check}"


def password() -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(18)) + "7!"


def agent(project: Any, script: str) -> None:
    """Let the project's agent run ``script``, which is not in the repository; how often it was called is ``$turn``."""
    report = 'echo \'{"summary": "done", "confidence": 0.95}\' > "$AUTO_DEV_REPORT"\n'
    (project.root / "agent.sh.script").write_text(
        'echo x >> "$0.calls"\nturn=$(wc -l < "$0.calls")\n' + report + script
    )
    (project.root / "agent.sh").write_text('#!/bin/sh\n. "$0.script"\n')


def git(cwd: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def remote_of(project: Any) -> Path:
    """A bare remote that the project pushes to."""
    remote: Path = project.root.parent / "remote.git"
    git(project.root, "init", "-q", "--bare", str(remote))
    git(project.root, "remote", "add", "origin", str(remote))
    git(project.root, "push", "-q", "origin", "main")
    return remote


def everything_in(remote: Path) -> str:
    """All that the remote holds: every object, and every ref."""
    names = git(remote, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    return "".join(
        subprocess.run(["git", "cat-file", "--batch"], cwd=remote, input=f"{name}\n", capture_output=True, text=True,
                       errors="replace", check=True, timeout=60).stdout
        for name in names
    )  # fmt: skip


async def tables_of(project: Any) -> str:
    """Every row of every table, checkpoints included."""
    tables = await project.fetch(
        "SELECT schemaname AS s, tablename AS t FROM pg_tables WHERE schemaname LIKE 'auto_dev%'"
    )
    rows = [row for t in tables for row in await project.fetch(f'SELECT t::text FROM "{t["s"]}"."{t["t"]}" t')]
    return "\n".join(str(row) for row in rows)


async def shown_in(project: Any) -> str:
    """Everything that is stored or shown: all tables, and the files of the runs but the agent's own."""
    parts = [await tables_of(project)]
    state = project.home / "projects"
    for path in state.rglob("*"):
        inside = path.relative_to(state).parts
        if path.is_file() and not {"worktrees", "mirror.git", "agent"} & set(inside):
            parts.append(path.read_text("utf-8", "replace"))
    return "\n".join(parts)


async def test_a_credential_asks_and_a_retry_leads_to_a_branch_without_it(project: Any, caplog: Any) -> None:
    """It was committed in the first round and taken out in the second: it would still be in the branch's history."""
    made = project({"A-1": []}, '[gates]\nadvisory = ["confidence"]\n')
    remote, token = remote_of(made), github_token()
    agent(made, f'if [ "$turn" = 1 ]; then echo "TOKEN = \'{token}\'" > a.py; else echo "TOKEN = None" > a.py; fi\n')
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert asked["kind"] == "secrets"
    assert any(item.get("file") == "a.py" and item.get("line") == 1 for item in asked["evidence"])
    assert f"ghp… ({len(token)} characters)" in str(asked["evidence"])
    assert "auto-dev" not in git(remote, "branch", "--list")
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "retry_hint", "read it from the environment")
        assert await daemon.serve() is ExitCode.DONE
    assert "TOKEN = None" in git(remote, "show", "auto-dev/A-1:a.py")
    assert token not in everything_in(remote)
    assert token not in await shown_in(made)
    assert token not in caplog.text
    kinds = {row["kind"] for row in await made.fetch("SELECT kind FROM events")}
    assert "COMMITS_JOINED" in kinds


async def test_what_a_commit_of_the_agent_held_is_left_out_without_asking(project: Any) -> None:
    """In a file that a later commit mends, and in the message of a commit; what came before stays as it was."""
    made = project({"A-1": []})
    remote, token, second = remote_of(made), github_token(), github_token()
    agent(
        made,
        "git config user.name A; git config user.email a@b.c\n"
        "echo 1 > first.txt; git add -A; git commit -qm first\n"
        f"echo {token} > leak.txt; git add -A; git commit -qm second\n"
        f"git rm -q leak.txt; git commit -qm 'no more {second}'\n"
        "echo 2 > third.txt\n",
    )
    assert await made.once() is ExitCode.DONE
    subjects = git(remote, "log", "--format=%s", "main..auto-dev/A-1").split("\n")
    assert [text for text in subjects if text] == ["A-1: Do A-1", "first"]
    assert git(remote, "ls-tree", "--name-only", "auto-dev/A-1", "first.txt", "third.txt").split() == [
        "first.txt",
        "third.txt",
    ]
    held = everything_in(remote)
    assert token not in held
    assert second not in held


async def test_no_credential_is_shown_wherever_it_is_written(project: Any, caplog: Any) -> None:
    """In the report, in the agent's questions and in what it says of being blocked."""
    made = project({"A-1": []})
    token, chosen = github_token(), password()
    report = (
        '{"summary": "I used TOKEN for it", "confidence": 0.95,'
        ' "criteria": [{"criterion": "there it is", "evidence": ["TOKEN"]}],'
        ' "decisions": [{"question": "Keep TOKEN?", "options": ["TOKEN", "no"], "tier": 4}], "blocked": "PASSWORD"}'
    )
    written = report.replace("TOKEN", token).replace("PASSWORD", f"password = '{chosen}'")
    agent(
        made,
        f"""echo "password = '{chosen}'" > a.py; echo "token = '{token}'" >> a.py
cat > "$AUTO_DEV_REPORT" <<'END'\n{written}\nEND\n""",
    )
    assert await made.once() is ExitCode.WAITS
    shown = await shown_in(made)
    assert token not in shown
    assert chosen not in shown
    assert token not in caplog.text
    assert chosen not in caplog.text
    verdicts = {row["gate"]: row for row in await made.fetch("SELECT gate, verdict, route, evidence FROM verdicts")}
    assert verdicts["secrets"]["route"] == "ask"
    assert len(verdicts["secrets"]["evidence"]) == 2


async def test_no_credential_of_a_report_is_in_a_pull_request(project: Any) -> None:
    """The work itself holds none, so that it leaves; what the agent says of it goes into the pull request's text."""
    made = project({"A-1": []}, '[gates]\nadvisory = ["proof"]\n')
    remote, token = remote_of(made), github_token()
    said = '{"summary": "I called it with TOKEN", "confidence": 0.95,'
    said += ' "criteria": [{"criterion": "there it is", "evidence": ["a.py", "curl -H TOKEN passes"]}]}'
    agent(made, f"""echo "A = 1" > a.py\ncat > "$AUTO_DEV_REPORT" <<'END'\n{said.replace("TOKEN", token)}\nEND\n""")
    assert await made.once() is ExitCode.DONE
    (pull,) = await made.fetch("SELECT url FROM pull_requests")
    assert pull
    shown = await shown_in(made)
    assert f"I called it with ghp… ({len(token)} characters)" in shown
    assert token not in shown
    assert token not in everything_in(remote)


async def test_what_a_failing_program_prints_is_asked_about_without_its_credential(project: Any, caplog: Any) -> None:
    """The text of an error becomes a decision, events, messages and lines of the log."""
    made = project({"A-1": []}, '[setup]\ncopy = [".env"]\ncommand = "cat .env; exit 3"\n')
    token = github_token()
    (made.root / ".gitignore").write_text("agent.sh.*\n.env\n")
    (made.root / ".env").write_text(f"GITHUB_TOKEN={token}\n")
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert asked["kind"] == "problem"
    assert f"ghp… ({len(token)} characters)" in f"{asked['question']} {asked['why']} {asked['evidence']}"
    assert token not in await tables_of(made)
    assert token not in caplog.text
    told = [str(vars(record)) for record in caplog.records]
    assert not any(token in text for text in told)


async def test_a_crash_of_a_node_is_told_without_its_credential(project: Any, monkeypatch: Any) -> None:
    made = project({"A-1": []})
    token = github_token()

    async def broken(context: Any, head: str) -> str:
        raise RuntimeError(f"cannot use {token}")

    monkeypatch.setattr(publish, "with_status_written", broken)
    await made.once()
    (run,) = await made.fetch("SELECT status, reason FROM runs")
    assert run["status"] == "failed"
    assert "RuntimeError: cannot use ghp…" in run["reason"]
    assert token not in await tables_of(made)


async def test_a_credential_in_the_name_of_a_file_asks(project: Any) -> None:
    made = project({"A-1": []})
    remote, token = remote_of(made), github_token()
    agent(made, f"mkdir tmp; echo 1 > tmp/{token}.json; echo 2 > b.txt\n")
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert asked["kind"] == "secrets"
    assert "in a file's name" in str(asked["evidence"])
    assert token not in await tables_of(made)
    assert token not in everything_in(remote)


async def test_a_credential_in_the_output_of_a_command_is_not_shown(project: Any, caplog: Any) -> None:
    """It stands in an ignored file that the worktree was given, so that no commit holds it."""
    config = '[run]\nrepair_attempts = 0\n[setup]\ncopy = [".env"]\n'
    config += '[[gates.command]]\nname = "tests"\nrun = "cat .env; test ! -e new.txt"\n'
    made = project({"A-1": []}, config)
    token = github_token()
    (made.root / ".gitignore").write_text("agent.sh.*\n.env\n")
    (made.root / ".env").write_text(f"GITHUB_TOKEN={token}\n")
    agent(made, "echo 1 > new.txt\n")
    assert await made.once() is ExitCode.WAITS
    (row,) = await made.fetch("SELECT verdict, evidence FROM verdicts WHERE gate = 'tests'")
    assert row["verdict"] == "fail"
    assert f"ghp… ({len(token)} characters)" in str(row["evidence"])
    assert token not in await tables_of(made)
    assert token not in caplog.text


async def test_a_waived_credential_may_leave_and_another_one_asks_again(project: Any) -> None:
    made = project({"A-1": []})
    remote, first, second = remote_of(made), github_token(), github_token()
    agent(made, f'echo "A = \'{first}\'" > a.py; [ "$turn" = 1 ] || echo "B = \'{second}\'" > b.py\n')
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "retry", "")
        assert await daemon.serve() is ExitCode.WAITS
    (both,) = await made.fetch("SELECT * FROM decisions WHERE status = 'open'")
    assert len([item for item in both["evidence"] if item.get("gate") == "secrets"]) == 2
    async with made.open() as daemon:
        await made.control(daemon).answer(both["id"], "waive", "they are revoked")
        assert await daemon.serve() is ExitCode.DONE
    held = everything_in(remote)
    assert first in held
    assert second in held
    (row,) = await made.fetch(
        "SELECT verdict, waived_reason FROM verdicts WHERE gate = 'secrets' ORDER BY round DESC LIMIT 1"
    )
    assert (row["verdict"], row["waived_reason"]) == ("waived", "they are revoked")


async def test_waiving_other_gates_lets_no_credential_through(project: Any) -> None:
    made = project({"A-1": []}, "[gates.scope]\nmax_file_changes = 1\n")
    remote, token = remote_of(made), github_token()
    agent(made, f'echo 1 > b.py; echo 2 > c.py; [ "$turn" = 1 ] || echo "A = \'{token}\'" > a.py\n')
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert asked["kind"] == "scope"
    async with made.open() as daemon:
        await made.control(daemon).answer(asked["id"], "retry", "")
        assert await daemon.serve() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions WHERE status = 'open'")
    assert {item["gate"] for item in asked["evidence"] if "gate" in item} == {"secrets", "scope"}
    assert "auto-dev" not in git(remote, "branch", "--list")
    assert token not in everything_in(remote)


async def test_what_comes_after_the_gates_is_looked_at_before_the_push(project: Any, monkeypatch: Any) -> None:
    """A commit that somebody put on the branch after the gates had judged, as the status of the story is."""
    made = project({"A-1": []})
    remote, token = remote_of(made), github_token()

    async def with_a_late_commit(context: Any, head: str) -> str:
        return await commit_file(context.services.mirror, context.branch, head, "late.txt", token.encode(), "late\n")

    monkeypatch.setattr(publish, "with_status_written", with_a_late_commit)
    assert await made.once() is ExitCode.WAITS
    (asked,) = await made.fetch("SELECT * FROM decisions")
    assert asked["kind"] == "secrets"
    assert "auto-dev" not in git(remote, "branch", "--list")
    assert token not in everything_in(remote)


async def test_what_the_base_holds_and_what_the_owner_allows_asks_nobody(project: Any) -> None:
    made = project({"A-1": [], "B-1": []}, '[gates.secrets]\nallow = ["fixtures/**"]\n')
    token = github_token()
    (made.root / "old.py").write_text(f"OLD = '{token}'\n")
    git(made.root, "add", "-A")
    git(made.root, "commit", "-qm", "long ago")
    agent(
        made,
        "mkdir -p fixtures moved; git mv old.py moved/new.py; echo '# more' >> moved/new.py\n"
        f"echo {github_token()} > fixtures/x\n",
    )
    assert await asyncio.wait_for(made.once(), 60) is ExitCode.DONE
