"""The real command with its sandbox: a hostile agent in a whole run, from prepare to the draft pull request."""

from __future__ import annotations

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
