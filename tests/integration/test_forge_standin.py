"""The local GitHub stand-in: it remembers, it refuses what GitHub refuses, its pages are harmless."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import auto_dev
from auto_dev.errors import ForgeError
from auto_dev.forge.standin import StandIn, main
from auto_dev.forge.standin_page import render
from auto_dev.forge.standin_state import branch_tip

pytestmark = pytest.mark.integration

AUTH = {"authorization": "Bearer secret"}
DRAFT = {"title": "t", "head": "auto-dev/A-1", "base": "main", "body": "b", "draft": True}


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path / "state" / "forge.json", repository="o/r", token="secret") as running:
        yield running


def call(
    standin: StandIn, method: str, path: str, body: Any = None, auth: dict[str, str] | None = None
) -> httpx.Response:
    with httpx.Client(timeout=10) as client:
        return client.request(method, f"{standin.url}/repos/o/r{path}", json=body, headers=auth or AUTH)


def test_it_says_what_it_is(standin: StandIn) -> None:
    assert standin.name == "local GitHub stand-in"
    assert "local GitHub stand-in" in httpx.get(standin.url).text


def test_it_remembers_over_a_restart_on_the_same_port(standin: StandIn, tmp_path: Path) -> None:
    assert call(standin, "POST", "/pulls", DRAFT).status_code == 201
    call(standin, "POST", "/issues/1/labels", {"labels": ["x"]})
    url = standin.url
    standin.stop()
    standin.stop()
    with StandIn(tmp_path / "state" / "forge.json", repository="o/r", token="secret") as again:
        assert again.url == url
        pull = call(again, "GET", "/pulls/1").json()
        assert (pull["draft"], [label["name"] for label in pull["labels"]]) == (True, ["x"])
        assert [(each["method"], each["status"]) for each in again.changes()] == [("POST", 201), ("POST", 200)]


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Bearer", "secret", "Basic secret"])
def test_without_its_token_it_answers_nothing(standin: StandIn, authorization: str) -> None:
    answer = call(standin, "GET", "/pulls", auth={"authorization": authorization})
    assert (answer.status_code, answer.json()["message"]) == (401, "Bad credentials")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 257}, "title is too long"),
        ({"body": "x" * 65_537}, "body is too long"),
        ({"head": ""}, "head"),
        ({"base": None}, "base"),
        ({"head": "main"}, "No commits between"),
    ],
)
def test_it_refuses_what_github_refuses(standin: StandIn, changes: dict[str, Any], said: str) -> None:
    answer = call(standin, "POST", "/pulls", DRAFT | changes)
    assert answer.status_code == 422
    assert said in answer.text
    assert standin.pulls() == []


def test_a_second_pull_request_of_the_same_branches_is_refused_until_the_first_is_closed(standin: StandIn) -> None:
    assert call(standin, "POST", "/pulls", DRAFT).status_code == 201
    answer = call(standin, "POST", "/pulls", DRAFT)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == "A pull request already exists for o:auto-dev/A-1."
    assert call(standin, "POST", "/pulls", DRAFT | {"base": "dev"}).json()["number"] == 2
    assert call(standin, "PATCH", "/pulls/2", {"base": "main"}).status_code == 422
    standin.act(1, "closed")
    assert call(standin, "PATCH", "/pulls/1", {"base": "dev"}).status_code == 422
    assert call(standin, "POST", "/pulls", DRAFT).json()["number"] == 3


def test_many_at_once_get_one(standin: StandIn) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: call(standin, "POST", "/pulls", DRAFT).status_code, range(16)))
    assert sorted(statuses) == [201] + [422] * 15
    assert [each["status"] for each in standin.changes()].count(201) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/pulls/99", None, 404),
        ("GET", "/labels/none", None, 404),
        ("PUT", "/pulls/1/merge", {}, 404),
        ("DELETE", "/pulls/1", None, 404),
        ("PATCH", "/pulls/99", {"title": "x"}, 404),
        ("POST", "/issues/99/labels", {"labels": ["x"]}, 404),
        ("POST", "/labels", {"name": ""}, 422),
        ("POST", "/pulls", [1], 422),
        ("GET", "/pulls?page=x&per_page=-1", None, 200),
    ],
)
def test_what_is_not_there_or_not_right_is_said(
    standin: StandIn, method: str, path: str, body: Any, status: int
) -> None:
    assert call(standin, method, path, body).status_code == status


def test_the_list_filters_like_github(standin: StandIn) -> None:
    for head in ("auto-dev/A-1", "auto-dev/A-2"):
        call(standin, "POST", "/pulls", DRAFT | {"head": head})
    standin.act(1, "merged")

    def numbers(query: str) -> list[int]:
        return [pull["number"] for pull in call(standin, "GET", f"/pulls?{query}").json()]

    assert numbers("") == [2]
    assert numbers("state=all") == [2, 1]
    assert numbers("state=all&direction=asc&per_page=1&page=2") == [2]
    assert numbers("state=closed&head=o:auto-dev/A-1") == [1]
    assert numbers("state=all&head=x:auto-dev/A-1") == []
    assert numbers("state=all&head=unreadable") == [2, 1]
    assert call(standin, "GET", "/pulls/1").json()["merged"] is True


def git(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A bare repository with main and, one commit further, auto-dev/A-1."""
    folder = tmp_path / "remote.git"
    folder.mkdir()
    git(folder, "init", "-q", "--bare", "-b", "main")
    tree = git(folder, "hash-object", "-t", "tree", "-w", os.devnull)
    first = git(folder, "commit-tree", tree, "-m", "first")
    second = git(folder, "commit-tree", tree, "-p", first, "-m", "second")
    git(folder, "update-ref", "refs/heads/main", first)
    git(folder, "update-ref", "refs/heads/auto-dev/A-1", second)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_branches_must_have_been_pushed(tmp_path: Path, bare: Path, packed: bool) -> None:
    if packed:
        git(bare, "pack-refs", "--all")
    with StandIn(tmp_path / "forge.json", repository="o/r", token="secret", git_dir=bare) as standin:
        assert call(standin, "POST", "/pulls", DRAFT | {"head": "auto-dev/A-2"}).json()["errors"][0]["field"] == "head"
        assert call(standin, "POST", "/pulls", DRAFT | {"base": "dev"}).json()["errors"][0]["field"] == "base"
        made = call(standin, "POST", "/pulls", DRAFT).json()
        assert made["head"]["sha"] == git(bare, "rev-parse", "auto-dev/A-1")
        git(bare, "update-ref", "refs/heads/auto-dev/A-1", git(bare, "rev-parse", "main"))
        assert call(standin, "GET", "/pulls/1").json()["head"]["sha"] == git(bare, "rev-parse", "main")
        git(bare, "update-ref", "-d", "refs/heads/auto-dev/A-1")
        assert call(standin, "GET", "/pulls/1").json()["head"]["sha"] == made["head"]["sha"]


@pytest.mark.parametrize("branch", ["", "../../HEAD", "/etc/passwd", "a\0b", "auto-dev", "none"])
def test_no_branch_name_reads_another_file(bare: Path, branch: str) -> None:
    assert branch_tip(bare, branch) is None


def test_the_page_of_a_pull_request_can_be_read_and_runs_nothing(standin: StandIn) -> None:
    evil = "<script>x()</script>"
    table = "| a | b |\n| - | - |\n| 1 | 2 |"
    body = f"### Goal\n\n{table}\n\n{evil} [x](javascript:x())\n\n<!-- auto-dev story=A run=r -->\n"
    call(standin, "POST", "/pulls", DRAFT | {"title": evil, "body": body, "head": f"auto-dev/{evil}"})
    call(standin, "POST", "/issues/1/labels", {"labels": [evil]})
    answer = httpx.get(standin.page(1))
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<h3>Goal</h3>" in answer.text
    assert "<td>1</td>" in answer.text
    assert ">draft</span>" in answer.text
    assert "auto-dev story=" not in answer.text
    for page in (answer.text, httpx.get(standin.url).text):
        assert "<script" not in page
        assert 'href="javascript' not in page
    assert httpx.get(standin.page(2)).status_code == 404
    assert httpx.get(f"{standin.url}/../etc/passwd").status_code == 404


def test_comments_leave_the_page_and_folds_stay() -> None:
    assert "&lt;!-- kept --&gt;" in render("`<!-- kept -->`")
    page = render("<details>\n<summary>More</summary>\n\n**words**\n\n</details>\n\n<!-- gone -->\n<!-- open")
    assert "<details>\n<summary>More</summary>" in page
    assert "<strong>words</strong>" in page
    assert page.rstrip().endswith("</details>")


@pytest.mark.parametrize(
    "evil",
    [
        "<details onclick=x()>", "<summary style=x>", "<details><script>x()</script></details>", "a <img src=x> b",
        "<!-- --><script>x()</script>", "<DETAILS open>", "<details\n>", "<iframe src=//x></iframe>",
    ],
)  # fmt: skip
def test_no_other_tag_and_no_attribute_reaches_the_page(evil: str) -> None:
    page = render(evil)
    assert not re.search(r"<(?!/?(?:p|details|summary)>)", page.replace("</p>", ""))


def test_another_host_name_is_refused(standin: StandIn) -> None:
    assert httpx.get(standin.url, headers={"host": "evil.example"}).status_code == 421


def test_a_state_that_is_broken_or_of_another_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ForgeError, match="cannot be read"):
        StandIn(tmp_path / "broken.json")
    (tmp_path / "other.json").write_text(json.dumps({"repository": "x/y"}))
    with pytest.raises(ForgeError, match="not of local/project"):
        StandIn(tmp_path / "other.json")


def test_the_command_reports_a_broken_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text("{")
    assert main(["--state", str(tmp_path / "broken.json")]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_as_a_process_it_loses_nothing_when_it_ends(tmp_path: Path, end: signal.Signals) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(auto_dev.__file__).parents[1])}
    environment["AUTO_DEV_STANDIN_TOKEN"] = "secret"
    command = [sys.executable, "-m", "auto_dev.forge.standin", "--state", "forge.json", "--repository", "o/r"]
    for expected in (201, 422):
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("local GitHub stand-in at http://127.0.0.1:")
            url = said.split()[4]
            answer = httpx.post(f"{url}/repos/o/r/pulls", json=DRAFT, headers=AUTH, timeout=10)
            assert answer.status_code == expected
            process.send_signal(end)
            assert process.wait(10) in (0, -signal.SIGKILL)
