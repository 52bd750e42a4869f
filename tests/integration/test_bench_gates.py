"""The corpus goes through the product's own path: a sample of it is judged here, with the thresholds of the whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auto_dev.place import DATABASE_URL
from bench.corpus import gates, history, registry, score
from bench.corpus.judge import missing

pytestmark = pytest.mark.integration

# Gates that reach the thresholds. One that is still being built is left out, and joins when it is done.
HELD = {"scope", "confidence", "empty", "tests", "lint"}


@pytest.mark.timeout(300)
async def test_a_sample_of_the_tuned_half_reaches_the_thresholds(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_url)
    cases = [case for case in registry.sample() if not missing(case)]
    cases = [case for case in cases if case.expect.clean or case.expect.gates[0] in HELD]
    found = await gates.judge_all(cases, tmp_path)
    last = score.rows(found)[-1]
    assert len(found) >= 15
    assert last.recall >= score.RECALL, "\n".join(score.wrong(found))
    assert last.needless <= score.NEEDLESS, "\n".join(score.wrong(found))


async def test_the_history_of_a_repository_is_judged_commit_by_commit(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DATABASE_URL, database_url)
    root = tmp_path / "repository"
    root.mkdir()

    def commit(name: str, text: str, message: str) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        subprocess.run(["git", "add", "-A"], cwd=root, check=True)
        subprocess.run(["git", "commit", "-q", "-m", message], cwd=root, check=True)

    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    commit("a.py", "a = 1\n", "Begin")
    commit("b.py", "b = 1\n", "Add b")
    commit(".github/workflows/ci.yml", "name: ci\n", "Add a workflow")
    assert await history.main(str(root), 10, parallel=2, json_out=False) == 0
    said = capsys.readouterr().out
    assert "2 commits, 1 stopped by scope" in said
    assert "of the other 1, 0 stopped" in said
