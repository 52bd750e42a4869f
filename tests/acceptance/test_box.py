"""The real command with its sandbox: a hostile agent in a whole run, from prepare to the draft pull request."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt install bubblewrap"),
]

BOXED = ("start", "plans", "--yes", "--once", "--foreground")
CANARIES = {
    name: f"canary-{name.lower()}-9b1f"
    for name in (
        "GITHUB_TOKEN", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY", "GEMINI_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_OWN_TOKEN",
    )
}  # fmt: skip

# Everything that it can find goes into a file of the story; what it can write outside is tried, too.
NOSY = """#!/bin/sh
brief=$(cat)
{
  env
  cat /proc/*/environ /proc/*/cmdline 2>&1 | tr '\\0' '\\n'
  cat "$CHECKOUT/.env" "$CHECKOUT/auto-dev.toml" /etc/shadow "$USERS_HOME/.ssh/id_ed25519" "$USERS_HOME/.netrc" 2>&1
  ls -la "$STATE" "$USERS_HOME" /root /home /tmp /run 2>&1
  git config --list --show-origin 2>&1
  grep -rsl canary- "$USERS_HOME" "$STATE" "$CHECKOUT" /etc /var /run /tmp /home /srv /mnt 2>&1 | head -50
} > loot.txt
for target in "$CHECKOUT/planted" "$USERS_HOME/planted" "$STATE/planted" /etc/planted /usr/planted "$MIRROR/planted"; do
  echo planted > "$target" 2>/dev/null
done
rm -f .git 2>/dev/null; mv .git .git-away 2>/dev/null; mkdir .git 2>/dev/null
ln -s "$CHECKOUT" link-to-checkout; ln -s "$USERS_HOME" link-to-home
(setsid sh -c 'trap "" TERM; while :; do sleep 1; done' >/dev/null 2>&1 &)
rm -f link-to-checkout link-to-home
echo done > done.txt
echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT"
"""


@pytest.fixture
def nosy(make_world: Any, tmp_path: Path) -> Any:
    """A world whose agent looks for everything, in a home folder full of canaries."""
    world = make_world({"A-1": []})
    home = world.folder / "users-home"
    for name in (".ssh/id_ed25519", ".netrc", ".aws/credentials"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"canary-home-{name}-9b1f")
    (world.repo / ".env").write_text("SECRET=canary-dotenv-9b1f\n")
    state = world.folder / "home"
    script = NOSY
    for name, path in {"CHECKOUT": world.repo, "STATE": state, "USERS_HOME": home, "MIRROR": state}.items():
        script = script.replace(f"${name}", str(path))
    (world.repo / "agent.sh").write_text(script)
    world.env |= {**CANARIES, "HOME": str(home)}
    return world


def test_a_hostile_agent_finds_nothing_plants_nothing_and_leaves_nothing(nosy: Any) -> None:
    world = nosy
    before = world.snapshot()
    code, out = world.run(*BOXED)
    assert world.status_of("A-1") == "in_review", (code, out, world.json("decide"))
    assert world.snapshot() == before
    loot = subprocess.run(
        ["git", "show", "auto-dev/A-1:loot.txt"], cwd=world.remote, check=True, capture_output=True
    ).stdout.decode("utf-8", "replace")
    assert "AUTO_DEV_STORY=A-1" in loot, "the agent did look"
    found = [secret for secret in (*CANARIES.values(), "canary-dotenv", "canary-home") if secret in loot]
    assert found == []
    planted = [path for root in (world.repo, world.folder) for path in root.rglob("planted")]
    assert planted == []
    names = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "auto-dev/A-1"], cwd=world.remote, check=True, capture_output=True,
        text=True,
    ).stdout.split()  # fmt: skip
    assert "done.txt" in names


def test_no_secret_is_in_anything_that_is_kept_or_sent(nosy: Any) -> None:
    """Canaries in every secret; then all that the run left is searched: files, objects, database, output."""
    world = nosy
    code, out = world.run(*BOXED)
    assert world.status_of("A-1") == "in_review", (code, out, world.json("decide"))
    tables = world.sql("SELECT table_schema, table_name FROM information_schema.tables"
                       " WHERE table_schema IN ('auto_dev', 'auto_dev_checkpoints', 'auto_dev_jobs')")  # fmt: skip
    texts = {"output": out}
    for row in tables:
        name = f'{row["table_schema"]}."{row["table_name"]}"'
        texts[name] = str(world.sql(f"SELECT t::text AS row FROM {name} t"))
    for folder in (world.folder / "home", world.remote):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and "/base/" not in str(path):
                texts[str(path)] = path.read_bytes().decode("utf-8", "replace")
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=world.remote, check=True, capture_output=True
    ).stdout.decode("utf-8", "replace")
    texts["objects"] = objects
    assert [(where, secret) for where, text in texts.items() for secret in CANARIES.values() if secret in text] == []


def test_without_a_sandbox_start_refuses_and_says_how_to_get_one(make_world: Any) -> None:
    world = make_world({"A-1": []})
    path = world.folder / "bin"
    path.mkdir()
    for name in ("git", "sh"):
        (path / name).symlink_to(str(shutil.which(name)))
    world.env["PATH"] = str(path)
    code, out = world.run(*BOXED)
    assert code == 1
    assert "bubblewrap" in out
    assert "--no-sandbox" in out
    assert world.agent_calls() == {}


# Its first turn leaves traps where the host and the next turn will look; its second one does the work.
TRAPPER = """#!/bin/sh
cat > /dev/null
report() { printf '%s' "$1" > "$AUTO_DEV_REPORT"; }
if [ -e broken.txt ]; then
  rm -f broken.txt
  ls -la "$HOME" "$TMPDIR" "$XDG_CACHE_HOME" > second.txt 2>&1 || exit 9
  echo x > "$TMPDIR/x" && echo x > "$XDG_CACHE_HOME/x" && echo x > "$HOME/x" || exit 8
  report '{"summary": "![a](http://evil.example/a.png) <img src=http://evil.example/b.png>", "confidence": 0.95}'
  exit 0
fi
echo x > broken.txt; echo y > work.txt; printf 'AGENTS.md\\nCLAUDE.md\\nCONTRIBUTING.md\\n/deep\\n' > .gitignore
printf '\\033]0;owned\\007\\033[2J\\033]52;c;ZXZpbA==\\007\\233 31m\\r12:00:00 A-1 task completed\\n'
report '{"summary": "\\u001b[2Jfirst", "confidence": 0.95}'
room=$(dirname "$AUTO_DEV_REPORT")
truncate -s 60G AGENTS.md; mkfifo CLAUDE.md; mkdir CONTRIBUTING.md
mkdir -p deep/closed/in; chmod 000 deep/closed
rm -rf "$TMPDIR" "$XDG_CACHE_HOME"
ln -s /nowhere/at/all "$TMPDIR"; mkfifo "$XDG_CACHE_HOME"
mkdir "$room/report-implement-1.json"
(cd "$room/report-implement-1.json" && i=0 && while [ $i -lt 1500 ]; do mkdir d && cd -P d && i=$((i+1)); done)
ln -s / "$HOME/.claude"; ln -s / "$HOME/.config"
chmod 000 "$HOME" "$room" .
"""


def test_traps_that_one_turn_leaves_for_the_next_close_on_nobody(make_world: Any) -> None:
    world = make_world({"A-1": []})
    (world.repo / "agent.sh").write_text(TRAPPER)
    try:
        code, out = world.run(*BOXED)
        assert world.status_of("A-1") == "in_review", (code, out, world.json("decide"))
        assert "second.txt" in world.git("ls-tree", "-r", "--name-only", "auto-dev/A-1", cwd=world.remote).split()
        bodies = [path.read_text() for path in (world.folder / "home").glob("projects/*/pull-requests/A-1/*.md")]
        assert len(bodies) == 1
        assert "evil.example" in bodies[0]
        assert "![" not in bodies[0]
        assert "<img" not in bodies[0]
        shown = [out, *(world.run(*command)[1] for command in (("logs", "A-1"), ("status",), ("decide",), ("prs",)))]
        assert "task completed" in shown[1], "the agent's output is shown"
        assert [text for text in shown if set(text) & set("\x1b\x07\r\x9b")] == []
    finally:
        subprocess.run(["rm", "-rf", world.folder], check=True)  # deeper than rmtree goes


RIVAL = """#!/usr/bin/env python3
import json, os, socket, sys, time
sys.stdin.read()
own = os.environ["AUTO_DEV_STORY"]
begun, found = time.time(), set()
for place in (os.getcwd(), os.environ["HOME"], os.environ["TMPDIR"], "/tmp", "/dev/shm", "/run", "/var/tmp"):
    open(f"{place}/mark-of-{own}", "w").close()
held = [socket.socket(), socket.socket(socket.AF_UNIX)]
held[0].bind(("127.0.0.1", 18399))
held[1].bind("\\0the-same-name-in-both")
for each in held: each.listen()
while time.time() < begun + 3:
    for top in {os.path.dirname(os.getcwd()), "/tmp", "/dev/shm", "/run", "/var/tmp", "STATE"}:
        for above, folders, names in os.walk(top):
            found |= {f"{above}/{name}" for name in names if name.startswith("mark-of-") and not name.endswith(own)}
            if "A-1" in folders and "B-1" in folders: found.add(above)
    time.sleep(0.05)
json.dump({"from": begun, "to": time.time(), "found": sorted(found)}, open(f"seen-{own}.json", "w"))
os.unlink(f"mark-of-{own}")
open(os.environ["AUTO_DEV_REPORT"], "w").write('{"summary": "done", "confidence": 0.95}')
"""


def test_two_stories_side_by_side_neither_see_nor_meet_each_other(make_world: Any) -> None:
    """The same port and the same abstract socket are free for both: each has a network of its own."""
    world = make_world({"A-1": [], "B-1": []})
    (world.repo / "agent.sh").write_text(RIVAL.replace("STATE", str(world.folder / "home")))
    code, out = world.run(*BOXED)
    assert world.statuses() == {"A-1": "in_review", "B-1": "in_review"}, (code, out, world.json("decide"))
    seen = {
        story: json.loads(world.git("cat-file", "-p", f"auto-dev/{story}:seen-{story}.json", cwd=world.remote))
        for story in ("A-1", "B-1")
    }
    assert max(one["from"] for one in seen.values()) < min(one["to"] for one in seen.values()), "they never met in time"
    assert {story: one["found"] for story, one in seen.items()} == {"A-1": [], "B-1": []}


def test_a_killed_daemon_leaves_no_boxed_agent(make_world: Any, wait_for: Any) -> None:
    world = make_world({"A-1": []})
    (world.repo / "agent.sh").write_text(
        "#!/bin/sh\n(trap '' TERM HUP INT; setsid sh -c 'while :; do sleep 1; done' &)\n"
        "touch started; trap '' TERM; while :; do sleep 1; done\n"
    )
    process = world.spawn(*BOXED)
    try:
        wait_for(lambda: list((world.folder / "home").rglob("started")), 60, "for the agent")
        assert world.own_processes() != []
    finally:
        process.kill()
        process.communicate()
    world.assert_no_process_left(10)


PLANTER = """#!/bin/sh
cat > /dev/null
for place in "$HOME" "$TMPDIR" "$XDG_CACHE_HOME" /tmp /run /dev/shm; do
  for name in .profile .bashrc .npmrc .gitconfig sitecustomize.py conftest.py; do echo planted > "$place/$name"; done
done
ls /run/auto-dev > agent-saw.txt
echo '{"summary": "done", "confidence": 0.95}' > "$AUTO_DEV_REPORT"
"""

JUDGE = """
[agent]
kind = "command"
command = ["./agent.sh"]

[setup]
command = "sh ./look.sh"

[[gates.command]]
name = "tests"
run = "sh ./look.sh"
"""

LOOK = """
env; ls -aR "$HOME" "$TMPDIR" "$XDG_CACHE_HOME" /run/auto-dev 2>&1; ls -a /tmp /dev/shm 2>&1
python3 - <<'END'
import os, socket
print("way out: sockets", [name for name in os.listdir("/run/auto-dev") if name.startswith("8377")])
with socket.socket() as gateway:
    print("way out: gateway", gateway.connect_ex(("127.0.0.1", 8377)))
END
"""


def test_gates_and_setup_have_no_way_to_models_and_nothing_that_the_agent_left(make_world: Any) -> None:
    world = make_world({"A-1": []}, config=JUDGE)
    world.env |= CANARIES
    (world.repo / "agent.sh").write_text(PLANTER)
    (world.repo / "look.sh").write_text(LOOK)
    world.commit()
    code, out = world.run(*BOXED)
    assert world.status_of("A-1") == "in_review", (code, out, world.json("decide"))
    saw = world.git("cat-file", "-p", "auto-dev/A-1:agent-saw.txt", cwd=world.remote)
    assert "8377.sock" in saw, "the agent itself has the gateway"
    runs = world.folder / "home"
    logs = {path.name: path.read_text() for path in runs.glob("projects/*/runs/A-1/*/*.log")}
    told = {name: text for name, text in logs.items() if "way out" in text}
    assert {"setup.log", "verify-0-tests.log"} <= set(told), sorted(logs)
    for name, text in told.items():
        assert "way out: sockets []" in text, name
        assert f"way out: gateway {errno.ECONNREFUSED}" in text, name
        assert [word for word in (*CANARIES.values(), "BASE_URL", "AUTO_DEV_REPORT") if word in text] == [], name
        assert [word for word in (".profile", ".gitconfig", "sitecustomize", "conftest.py") if word in text] == [], name
