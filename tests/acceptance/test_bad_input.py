"""What a new user gets wrong: one clear line each and the right exit code; other stories go on, nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

START = ("start", "plans", "--yes", "--no-sandbox")
ONCE = (*START, "--once", "--foreground")
CONFIG = '[agent]\nkind = "command"\ncommand = ["./agent.sh"]\n'
STORY = "---\nid: {id}\ntitle: Do {id}\ngoal: Its file exists.\nstatus: ready\nacceptance_criteria: [its file exists]\n"

Done = subprocess.CompletedProcess[str]


def refused(done: Done, code: int, *words: str) -> None:
    """The command ended with ``code`` and said why in exactly one line on stderr, beside warnings."""
    said = f"{' '.join(done.args[3:])} → {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == code, said
    errors = [line for line in done.stderr.splitlines() if not line.startswith("auto-dev: warning: ")]
    assert len(errors) == 1, said
    assert errors[0].startswith("auto-dev: error: "), said
    assert len(errors[0]) < 500, said
    for word in words:
        assert word in errors[0], said
    assert done.stdout == "", said


FLAGS = {
    ("--schedule", "8"): ("--schedule", "08:00-18:00"),
    ("--schedule", "08:00-08:00"): ("--schedule",),
    ("--daily-budget", "-1"): ("--daily-budget", "-1"),
    ("--weekly-budget", "nan"): ("--weekly-budget",),
    ("--daily-budget", "much"): ("--daily-budget", "number"),
    ("--agent", "foo"): ("--agent", "'command'"),
    ("--notify", "slack,carrier-pigeon"): ("--notify", "carrier-pigeon", "'email'"),
    ("--max-parallel", "0"): ("--max-parallel",),
    ("--database-url", ""): ("--database-url", "empty"),
    ("--bogus",): ("--bogus", "auto-dev start --help"),
}
CALLS = {
    ("frobnicate",): ("frobnicate", "--help"),
    ("skip",): ("story", "auto-dev skip --help"),
    ("stories", "chek"): ("'check'",),
    ("decide", "--answer", "retry"): ("which decision",),
    ("decide", "d-abcdef", "--text", "words"): ("--answer",),
    ("start",): ("which folder", "auto-dev start DIR"),
    ("stories", "check"): ("which folder",),
    ("stories", "explain", "NOPE-1", "plans"): ("NOPE-1",),
    ("budget", "raise", "day", "--to", "-5", "--yes"): ("--to", "-5"),
    ("budget", "raise", "day", "--to", "1e30", "--yes"): ("--to", "1e+30"),
    ("budget", "history", "--days", "0"): ("--days",),
}


def test_a_wrong_call_is_one_line_and_exit_code_2(make_world: Any) -> None:
    world = make_world({"A-1": []})
    for flag, words in FLAGS.items():
        refused(world.call(*START, *flag), 2, *words)
    for call, words in CALLS.items():
        refused(world.call(*call), 2, *words)
    assert not (world.folder / "home" / "projects").exists()


CONFIGS = {
    "[agent\n": ("auto-dev.toml", "not TOML", "line 1"),
    CONFIG + "[budget]\ndayly = 3\n": ("auto-dev.toml", "budget.dayly", "Did you mean 'daily'?"),
    CONFIG + "[nope]\nx = 1\n": ("nope", "unknown key", "agent, autopilot, budget"),
    CONFIG + '[budget]\ndaily = "x"\n': ("budget.daily", "number", "'x'"),
    CONFIG.replace('"command"', '"comand"'): ("agent.kind", "'command'", "'comand'"),
    '[agent]\nkind = "command"\n': ("agent", 'command = ["./agent.sh"]'),
    CONFIG + '[run]\ntimezone = "Mars/Olympus"\n': ("run.timezone", "Europe/Berlin"),
    CONFIG + '[forge]\nkind = "github"\n': ("forge", "owner/name"),
    # From here on it is well-formed, and names something that is not there.
    CONFIG + '[project]\nremote = "upstream"\n[forge]\nkind = "github"\nrepository = "a/b"\n': ("remote",),
    CONFIG + '[forge]\nkind = "github"\nrepository = "a/b"\n': ("GITHUB_TOKEN", "[forge]"),
    CONFIG + '[notify]\nchannels = ["email"]\n[notify.email]\nto = ["a@b.c"]\n': ("AUTO_DEV_SMTP_URL", "smtp://"),
    CONFIG.replace("./agent.sh", "./missing.sh"): ("agent.command", "missing.sh"),
    CONFIG.replace("./agent.sh", "missing-agent"): ("agent.command", "missing-agent", "PATH"),
    CONFIG.replace("./agent.sh", "./plans/A-1.md"): ("agent.command", "chmod +x"),
    CONFIG + '[project]\nbase_branch = "nope"\n': ("base branch", "nope"),
    CONFIG + '[project]\nremote = "upstream"\n': ("project.remote", "upstream", "git remote add"),
    CONFIG + '[run]\ngraph = "no.such:graph"\n': ("run.graph", "no.such:graph"),
    CONFIG + '[gates]\ncustom = ["no.such:Gate"]\n': ("gates.custom", "no.such:Gate"),
    CONFIG + '[setup]\ncopy = [".env"]\n': ("setup.copy", ".env"),
}


def test_a_broken_configuration_stops_before_anything_runs(make_world: Any) -> None:
    world = make_world({"A-1": []})
    for text, words in CONFIGS.items():
        (world.repo / "auto-dev.toml").write_text(text)
        done = world.call(*ONCE)
        done.stdout = ""  # a base branch is only known to be missing when the mirror is made
        refused(done, 1, *words)
    (world.repo / "auto-dev.toml").write_bytes(b"\xff\xfe")
    refused(world.call(*START), 1, "auto-dev.toml", "UTF-8")
    refused(world.call("start", "plans", "--yes"), 1, "auto-dev.toml", "UTF-8")
    (world.repo / "auto-dev.toml").write_text(CONFIG)
    for url, words in {
        "mysql://me:secret@host/x": ("postgresql://",),
        "postgresql://me:secret@127.0.0.1:1/x": ("127.0.0.1", "port 1", "Connection refused"),
    }.items():
        done = world.call(*START, "--database-url", url)
        refused(done, 1, *words)
        assert "secret" not in done.stderr
    assert not world.ledger.exists()
    assert world.git("status", "--short") == "M auto-dev.toml"


def test_a_folder_or_repository_that_does_not_fit_is_refused(make_world: Any) -> None:
    world = make_world({"A-1": []})
    (world.repo / "empty").mkdir()
    (world.repo / "documents").mkdir()
    (world.repo / "documents" / "README.md").write_text("# Read me\n")
    plain, unborn = world.folder / "plain", world.folder / "unborn"
    for folder in (plain, unborn):
        (folder / "plans").mkdir(parents=True)
        (folder / "plans" / "A-1.md").write_text(STORY.format(id="A-1") + "---\n")
    world.git("init", "-q", cwd=unborn)
    cases: dict[tuple[str, Path], tuple[str, ...]] = {
        ("nope", world.repo): ("nope", "no such folder"),
        ("auto-dev.toml", world.repo): ("not a folder",),
        ("empty", world.repo): ("empty", "no story"),
        ("documents", world.repo): ("documents", "no story"),
        ("plans", plain): ("no git repository", "git init"),
        ("plans", unborn): ("unborn", "no commit yet"),
        ("plans", world.remote): ("bare", "Clone it"),
        ("plans", world.repo / ".git"): (".git",),
    }
    for (name, cwd), words in cases.items():
        refused(world.call("start", name, *ONCE[2:], cwd=cwd), 1, *words)
    for command in ("status", "init", "stop"):
        refused(world.call(command, cwd=plain), 1, "no git repository")
    world.git("checkout", "-q", "--detach")
    refused(world.call(*ONCE), 1, "HEAD is detached", "base_branch")
    for env in ({"AUTO_DEV_HOME": f"{world.folder}/home\udcff"}, {"AUTO_DEV_HOME": "/dev/null/x"}):
        refused(world.call(*ONCE, env=env), 1, "UTF-8" if "\udcff" in env["AUTO_DEV_HOME"] else "/dev/null/x")
    assert not world.ledger.exists()


UNTIDY = {
    "broken.md": b"---\nid: BRK-1\ntitle: [unclosed\n---\nbody\n",
    "never-closed.md": b"---\nid: NOEND-1\ntitle: x\n",
    "dup-a.md": (STORY.format(id="DUP-1") + "---\n").encode(),
    "dup-b.md": (STORY.format(id="DUP-1") + "---\n").encode(),
    "latin.md": (STORY.format(id="LATIN-1") + "---\nGrüße\n").encode("latin-1"),
    "binary.md": bytes(range(256)),
    "empty.md": b"",
    "Über raschung ☃.md": (STORY.format(id="UNI-1") + "---\n\x1b[31mred\x07\n").encode(),
    "nul.md": (STORY.format(id="NUL-1") + "---\n\x00\n").encode(),
}
WRONG = {
    "broken.md:3": "not YAML", "never-closed.md:1": "never closed", "dup-a.md": "dup-b.md", "latin.md": "UTF-8",
    "binary.md": "UTF-8", "nul.md": "not text", "DANG-1.md": "NOWHERE-9", "CYC-1.md": "CYC-2",
}  # fmt: skip


def test_bad_stories_are_named_and_the_others_go_on(make_world: Any) -> None:
    world = make_world(
        {
            "A-1": [], "A-2": ["A-1"], "DANG-1": ["NOWHERE-9"], "CYC-1": ["CYC-2"], "CYC-2": ["CYC-1"],
            "CYC-3": ["CYC-1"], "NEEDSDUP-1": ["DUP-1"], "NEEDSBRK-1": ["BRK-1"], "NEEDSLATIN-1": ["LATIN-1"],
        }
    )  # fmt: skip
    for name, content in UNTIDY.items():
        (world.repo / "plans" / name).write_bytes(content)
    world.commit()
    before = world.snapshot()
    checked = world.call("stories", "check", "plans")
    assert checked.returncode == 1
    done = world.call(*ONCE)
    assert done.returncode == 1, done.stderr
    for where, words in WRONG.items():
        file, _, line = where.partition(":")
        (said,) = [row for row in done.stderr.splitlines() if row.startswith(f"auto-dev: error: plans/{where}:")]
        assert words in said
        after = checked.stdout[checked.stdout.index(f"{file}:") :]
        assert words in after.split("\n    error: ")[1].split("\n")[0]
        assert not line or f"line {line}: " in after.split("\n    error: ")[1]
    assert "Traceback" not in done.stdout + done.stderr
    assert world.statuses() == {
        "A-1": "in_review", "A-2": "in_review", "UNI-1": "in_review", "DANG-1": "invalid", "CYC-1": "invalid",
        "CYC-2": "invalid", "CYC-3": "blocked", "DUP-1": "invalid", "BRK-1": "invalid", "NOEND-1": "invalid",
        "NEEDSDUP-1": "blocked", "NEEDSBRK-1": "blocked", "NEEDSLATIN-1": "invalid",
    }  # fmt: skip
    assert world.branches() == {"auto-dev/A-1", "auto-dev/A-2", "auto-dev/UNI-1"}
    assert done.stdout.splitlines()[-1] == "Ended: 3 in review, 7 held back by an error, 3 blocked by others."
    refused(world.call("run", "DANG-1", "--dir", "plans", "--no-sandbox"), 1, "DANG-1.md", "NOWHERE-9")
    refused(world.call("run", "CYC-3", "--dir", "plans", "--no-sandbox"), 1, "CYC-3", "blocked", "CYC-1")
    refused(world.call("run", "A-1", "--dir", "plans", "--no-sandbox"), 1, "A-1", "in review", "auto-dev retry A-1")
    assert world.snapshot() == before
    assert world.git("rev-parse", "main", cwd=world.remote) == world.git("rev-parse", "main")


def test_an_unreadable_file_alone_is_no_success(make_world: Any) -> None:
    world = make_world({"A-1": []})
    (world.repo / "plans" / "latin.md").write_bytes(UNTIDY["latin.md"])
    world.commit()
    done = world.call(*ONCE)
    assert done.returncode == 1
    assert "plans/latin.md: not UTF-8" in done.stderr
    assert world.statuses() == {"A-1": "in_review"}


HOSTILE = r"""#!/bin/bash
brief=$(cat)
report() { printf "$1" > "$AUTO_DEV_REPORT"; }
mkdir -p src; echo x > "src/$AUTO_DEV_STORY.txt"; report '{"summary": "done", "confidence": 0.95}'
case "$AUTO_DEV_STORY" in
  BIG-*) head -c 104857600 /dev/zero | tr '\0' 'x';;
  NOISE-*) printf '\033]0;owned\007\033[2J\033[31m\000\001\377\r\n\342\200\256\n';;
  ASKS-*) report '{"summary": "a\\u0000b\\u001b[31m\\ud800", "confidence": 0.95, "decisions":
             [{"question": "\\u001b[2JWhich\\u0007 one?\\u202e", "options": ["a\\u0000", "b"], "tier": 2}]}';;
  NOTREE-*) rm -rf "$PWD";;
  NOGIT-*) rm -rf .git;;
  OWNGIT-*) rm -rf .git; git init -q .; git add -A; git -c user.name=a -c user.email=b commit -qm own;;
  STAYS-*) (setsid sleep 86399 > /dev/null 2>&1 &); nohup sleep 86399 & ;;
  MUTE-*) rm "$AUTO_DEV_REPORT";;
  GARBLED-*) report '{"summary": ';;
  LIST-*) report '[1, 2]';;
  NAN-*) report '{"summary": "x", "confidence": NaN}';;
  DEEP-*) python3 -c 'print("[" * 100000)' > "$AUTO_DEV_REPORT";;
  HUGE-*) head -c 5000000 /dev/zero | tr '\0' '1' > "$AUTO_DEV_REPORT";;
  FOLDER-*) rm "$AUTO_DEV_REPORT"; mkdir "$AUTO_DEV_REPORT";;
  LINK-*) rm "$AUTO_DEV_REPORT"; ln -s /etc/passwd "$AUTO_DEV_REPORT";;
  PIPE-*) rm "$AUTO_DEV_REPORT"; mkfifo "$AUTO_DEV_REPORT";;
  KILLED-*) kill -9 $$;;
  PUSHES-*) git add -A; git commit -qm x; git push -q origin HEAD:main; git push -q REMOTE HEAD:main;;
esac
exit 0
"""
PASS = ("BIG", "NOISE", "NOGIT", "OWNGIT", "STAYS", "KILLED")
ASKED = {
    "ASKS": "Which one?", "NOTREE": "changed nothing", "MUTE": "no report", "GARBLED": "not JSON", "LIST": "not a JSON",
    "NAN": "NaN", "DEEP": "too deeply", "HUGE": "larger than", "FOLDER": "not a regular file", "LINK": "symbolic link",
    "PIPE": "not a regular file",
}  # fmt: skip


def test_hostile_agents_harm_only_their_own_story(make_world: Any) -> None:
    world = make_world({f"{name}-1": [] for name in (*PASS, *ASKED)})
    (world.repo / "agent.sh").write_text(HOSTILE)
    world.commit()
    before = world.snapshot()
    done = world.call(*ONCE, timeout=200)
    assert done.returncode == 3, done.stderr
    world.assert_no_process_left()
    asked = {decision["story"]: decision for decision in world.json("decide")["decisions"]}
    assert set(asked) == {f"{name}-1" for name in ASKED}
    for name, words in ASKED.items():
        assert words in asked[f"{name}-1"]["question"]
    assert world.branches() == {f"auto-dev/{name}-1" for name in PASS}
    for name in PASS:
        assert world.git("cat-file", "-p", f"auto-dev/{name}-1:src/{name}-1.txt", cwd=world.remote) == "x"
    assert world.git("log", "-1", "--format=%s", "auto-dev/OWNGIT-1", cwd=world.remote) == "OWNGIT-1: Do OWNGIT-1"
    assert world.snapshot() == before
    logs = [path.stat().st_size for path in (world.folder / "home").rglob("agent-implement-0.log")]
    assert max(logs) < 10_000_000
    said = done.stdout + done.stderr
    for command in (("decide",), ("status",), ("logs", "NOISE-1"), ("logs", "ASKS-1"), ("summary",), ("prs",)):
        shown = world.call(*command)
        assert shown.returncode == 0, shown.stderr
        said += shown.stdout + shown.stderr
    assert not set(said) & set("\x00\x01\x07\x1b\u202e\r")
    assert "Traceback" not in said


def test_a_remote_that_refuses_loses_nothing(make_world: Any) -> None:
    world = make_world({"A-1": [], "A-2": ["A-1"], "BROKEN-1": []})
    hook = world.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'GH006: \033[31mprotected' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = world.call(*ONCE)
    assert done.returncode == 3
    assert "A-1 stopped in step publish: cannot push to" in done.stderr
    asked = {decision["story"]: decision for decision in world.json("decide")["decisions"]}
    assert "GH006: protected" in asked["A-1"]["question"]
    assert world.statuses() == {"A-1": "waiting", "A-2": "blocked", "BROKEN-1": "waiting"}
    assert world.branches() == set()
    hook.unlink()
    away = world.folder / "away.git"
    world.remote.rename(away)
    assert world.call("decide", asked["A-1"]["id"], "--answer", "retry").returncode == 0
    gone = world.call(*ONCE)
    assert gone.returncode == 3
    assert "A-1 stopped in step publish" in gone.stderr
    away.rename(world.remote)
    (again,) = [decision for decision in world.json("decide")["decisions"] if decision["story"] == "A-1"]
    assert world.call("decide", again["id"], "--answer", "retry").returncode == 0
    assert world.call(*ONCE).returncode == 3  # BROKEN-1 still waits
    assert world.branches() == {"auto-dev/A-1", "auto-dev/A-2"}
    assert world.agent_calls()["A-1 implement"] == 1
    assert world.git("rev-parse", "main", cwd=world.remote) == world.git("rev-parse", "main")


def test_a_checkout_in_disorder_is_left_as_it_is(make_world: Any) -> None:
    """Detached, dirty, without a remote, spaces and unicode in every path, the state folder included."""
    world = make_world({"A-1": [], "A-2": ["A-1"]}, remote=False)
    odd = world.folder / "répo  mit ☃"
    world.repo.rename(odd)
    (odd / "plans").rename(odd / "plä ne ☃")
    (odd / "auto-dev.toml").write_text(CONFIG + '[project]\nbase_branch = "main"\n')
    world.git("add", "-A", cwd=odd)
    world.git("commit", "-q", "-m", "odd", cwd=odd)
    world.git("checkout", "-q", "--detach", cwd=odd)
    (odd / "notes.txt").write_text("not committed")
    (odd / "agent.sh").write_text((odd / "agent.sh").read_text() + "\n# changed\n")
    (odd / "plans.txt").write_text("staged")
    world.git("add", "plans.txt", cwd=odd)
    before = {path: path.read_bytes() for path in sorted(odd.rglob("*")) if path.is_file()}
    env = {"AUTO_DEV_HOME": str(world.folder / "stäte  home ☃")}
    done = world.call("start", "plä ne ☃", *ONCE[2:], cwd=odd, env=env)
    assert done.returncode == 0, done.stderr
    for words in ("uncommitted changes", "HEAD is detached", "no remote"):
        assert words in done.stderr
    facts = world.call("status", "--json", cwd=odd, env=env).stdout
    assert facts.count('"in_review"') == 2
    assert {path: path.read_bytes() for path in sorted(odd.rglob("*")) if path.is_file()} == before
    assert len(list(Path(env["AUTO_DEV_HOME"]).rglob("*.patch"))) == 2


def test_a_shallow_clone_works_with_its_remote_and_without(make_world: Any) -> None:
    world = make_world({"A-1": [], "A-2": ["A-1"]})
    world.git("commit", "-q", "--allow-empty", "-m", "two")
    world.git("push", "-q", "origin", "main")
    shutil.rmtree(world.repo)
    world.git("clone", "-q", "--depth", "1", world.remote.as_uri(), "repo", cwd=world.folder)
    done = world.call(*ONCE)
    assert done.returncode == 0, done.stderr
    assert "shallow clone" in done.stderr
    assert world.branches() == {"auto-dev/A-1", "auto-dev/A-2"}
    assert world.git("rev-parse", "--is-shallow-repository") == "true"
    world.git("remote", "remove", "origin")
    world.write_story("B-1", [])
    world.git("add", "-A")
    world.git("commit", "-q", "-m", "B-1")
    assert world.call(*ONCE).returncode == 0
    assert world.statuses()["B-1"] == "in_review"
    assert "auto-dev/B-1" not in world.branches()


MENDABLE = """
[agent]
kind = "command"
command = ["./agent.sh"]
[setup]
command = "test -e {folder}/set-up || {{ echo not set up >&2; exit 3; }}"
[[gates.command]]
name = "tests"
run = "{folder}/tool"
"""


def test_setup_and_commands_that_cannot_run_ask_and_go_on_when_mended(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": []})
    (world.repo / "auto-dev.toml").write_text(MENDABLE.format(folder=world.folder))
    world.commit()
    with world.daemon():
        (first,) = wait_for(lambda: world.json("decide")["decisions"], 60)
        assert "the setup command failed (exit status 3): not set up" in first["question"]
        assert "setup.log" in first["why"]
        (world.folder / "set-up").touch()
        assert world.call("decide", first["id"], "--answer", "retry").returncode == 0
        (second,) = wait_for(lambda: world.json("decide")["decisions"], 60)
        assert "the command was not found" in second["question"]
        assert not world.ledger.exists()  # nothing was spent before that
        (world.folder / "tool").write_text("#!/bin/sh\nexit 0\n")
        (world.folder / "tool").chmod(0o755)
        assert world.call("decide", second["id"], "--answer", "retry").returncode == 0
        wait_for(lambda: world.statuses() == {"A-1": "in_review"}, 60)
    assert world.branches() == {"auto-dev/A-1"}
