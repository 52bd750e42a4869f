"""Where a story may not reach, by whatever spelling of a path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_dev.config import CommandGate, Config, GatesConfig, ProjectConfig, ScopeGate
from auto_dev.gates.base import Change, CommandOutcome, GateContext, Judgement
from auto_dev.gates.empty import EmptyGate
from auto_dev.gates.paths import canonical, hidden, matches, matches_loosely, plain
from auto_dev.gates.scope import ScopeGate as Gate
from auto_dev.gates.scope import leaves_repository, status_only
from auto_dev.model import Route, Verdict
from auto_dev.report import Report
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit


def context_of(
    changes: Sequence[Change | str],
    *,
    allowed: Sequence[str] = (),
    protected: Sequence[str] = (".github/", ".env"),
    most: int = 50,
    files: Mapping[tuple[str, str], bytes] | None = None,
    report: Report | None = None,
) -> GateContext:
    """A context with ``changes`` (a plain path means: modified) and ``files`` by (commit, path)."""

    async def read(rev: str, path: str) -> bytes | None:
        return (files or {}).get((rev, path))

    async def diff(path: str) -> str:
        raise AssertionError("no diff is needed")

    async def run(gate: CommandGate, sha: str) -> CommandOutcome:
        raise AssertionError("no command is run")

    scope = ScopeGate(allowed_paths=list(allowed), protected_paths=list(protected), max_file_changes=most)
    return GateContext(
        story=Story(id="S-1", title="A story", path="backlog/S-1.md"),
        policy=Config(project=ProjectConfig(stories="plans"), gates=GatesConfig(scope=scope)),
        base_sha="base",
        head_sha="head",
        round=0,
        changes=tuple(Change(c, "M", 1, 1) if isinstance(c, str) else c for c in changes),
        report=report,
        report_problem="",
        baseline={},
        read=read,
        diff=diff,
        run_command=run,
    )


def judge(changes: Sequence[Change | str], **about: object) -> Judgement:
    return asyncio.run(Gate().judge(context_of(changes, **about)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("src", "src/a/b.py", True),
        ("src/", "src/a.py", True),
        ("./src//", "src/a.py", True),
        ("/src", "src/a.py", True),
        ("src", "srcs/a.py", False),
        ("src/a", "src/a.py", False),
        (".env", ".env", True),
        (".env", ".env.example", False),
        (".env", "web/.env", False),
        ("*.py", "a.py", True),
        ("*.py", "deep/down/a.py", True),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/*", "src/deep/a.py", True),
        ("src/**/a.py", "src/a.py", True),
        ("src/**/a.py", "src/x/y/a.py", True),
        ("src/**/a.py", "src/x/y/b.py", False),
        ("**/migrations", "a/b/migrations/0001.sql", True),
        ("**/migrations/**", "migrations/0001.sql", True),
        ("src/**", "src/a/b/c", True),
        ("src/**", "lib/a", False),
        ("**", "anything/at/all", True),
        ("", "anything", True),
        (".", "anything", True),
        ("/", "anything", True),
        ("app/[id]/page.tsx", "app/[id]/page.tsx", True),
        ("a[bc].txt", "ac.txt", True),
        ("a?.txt", "ab.txt", True),
        ("[", "[", True),
        ("Src", "src/a.py", False),
        ("caf\u00e9", "cafe\u0301/a", True),
    ],
)
def test_patterns_cover_paths(pattern: str, path: str, covered: bool) -> None:
    assert matches(pattern, path) is covered


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        ".GitHub/workflows/ci.yml",
        ".GITHUB/x",
        ".github\u200b/workflows/ci.yml",
        "\ufeff.github/x",
        "．ｇｉｔｈｕｂ/x",
        "\u2024github/x",
        ".g\u0131thub/x".replace("\u0131", "i\u200d"),
        ".github./x",
        ".github /x",
        "./.github/x",
        ".github\\workflows\\ci.yml",
        "a/../.github/x",
        ".git\u00adhub/x",
        ".github\ufe0f/x",
    ],
)
def test_no_spelling_of_a_protected_path_slips_through(path: str) -> None:
    assert matches_loosely(".github/", path)
    judgement = judge([path])
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.ASK)


def test_allowed_paths_are_taken_at_their_word() -> None:
    assert judge(["src/a.py"], allowed=["src/"]).verdict is Verdict.PASS
    for path in ("Src/a.py", "srcs/a.py", "lib/a.py"):
        judgement = judge([path], allowed=["src/"])
        assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.REPAIR), path
    assert judge(["src\u200b/a.py"], allowed=["src/"]).route is Route.ASK


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".gitlab-ci.yml", "a CI workflow"),
        (".circleci/config.yml", "a CI workflow"),
        ("Jenkinsfile", "a CI workflow"),
        (".husky/pre-commit", "a hook"),
        (".pre-commit-config.yaml", "a hook"),
        (".claude/settings.json", "agent settings"),
        (".codex/config.toml", "agent settings"),
        (".cursor/rules/x.mdc", "agent settings"),
        ("AGENTS.md", "agent settings"),
        ("packages/web/CLAUDE.md", "agent settings"),
        ("claude.md", "agent settings"),
        (".mcp.json", "agent settings"),
        (".gitattributes", "git's own settings"),
        ("sub/.gitattributes", "git's own settings"),
        (".gitmodules", "git's own settings"),
        ("CODEOWNERS", "the review rules"),
        (".devcontainer/devcontainer.json", "runs by itself"),
        (".npmrc", "package registry settings"),
        ("auto-dev.toml", "auto-dev's own policy"),
        ("Auto-Dev.toml", "auto-dev's own policy"),
        ("web/.env", "secrets"),
        *((path, "a CI workflow") for path in (
            "ci/Jenkinsfile.release", "deploy.jenkinsfile", "build.gitlab-ci.yml", "azure-pipelines-release.yml",
            ".buildkite/pipeline.yml", ".drone.yml", ".woodpecker/build.yaml", ".cirrus.yml", "buildspec.yml",
            ".semaphore/semaphore.yml", ".gitlab/ci/build.yml", "Bitbucket-Pipelines.YML",
        )),
        *((path, "a hook") for path in (
            "lefthook-local.yml", ".lefthook.toml", "web/.husky/_/pre-push", ".lintstagedrc.json", ".overcommit.yml",
            "lint-staged.config.mjs", ".pre-commit-config.yml", "simple-git-hooks.cjs",
        )),
        *((path, "agent settings") for path in (
            "opencode.json", ".opencode/agent/x.md", ".gemini/settings.json", ".github/instructions/a.instructions.md",
            ".vscode/mcp.json", ".aider.conf.yml", ".agents/skills/a/SKILL.md", "AGENTS.Override.md", ".roomodes",
        )),
        *((path, "runs by itself") for path in (
            ".vscode/tasks.json", "web/.vscode/settings.json", ".idea/runConfigurations/All.xml", ".run/All.run.xml",
            ".envrc", "web/.ENVRC", ".tool-versions", ".mise.toml", "mise.local.toml", ".config/mise/config.toml",
            "crates/a/.cargo/config.toml", ".pnpmfile.cjs", ".yarn/releases/yarn-4.cjs", "src/sitecustomize.py",
            "shop.code-workspace", ".devcontainer.json", ".mvn/extensions.xml", ".gitpod.yml",
        )),
        *((path, "package registry settings") for path in (
            "web/.yarnrc.yml", "pip.conf", "NuGet.Config", "bunfig.toml", ".bundle/config", "uv.toml",
            "android/gradle/wrapper/gradle-wrapper.properties",
        )),
        *((path, "secrets") for path in (".env.staging", ".env.development.local", ".docker/config.json", "_netrc")),
        *((path, "git's own settings") for path in ("a/b/.GITMODULES", "docs/.gitAttributes", ".lfsconfig")),
    ],
)  # fmt: skip
def test_special_files_ask(path: str, kind: str) -> None:
    judgement = judge([path], protected=[])
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.ASK)
    assert kind in judgement.reason
    assert judgement.evidence[0]["file"] == path


@pytest.mark.parametrize(
    "path",
    [
        "src/app.py", ".gitignore", "docs/agents.rst", "src/hooks/useX.ts", ".env.example", "README.md", ".env.test",
        ".vscode/extensions.json", ".idea/codeStyles/Project.xml", "src/devcontainer.ts", "src/claude/client.py",
        "docs/mise.md", "src/tasks.json", "src/settings.json", "config/config.toml", ".editorconfig", ".nvmrc",
        "src/npmrc.py", "tools/pip_conf.py", "src/pipelines/azure.yml", "web/workspace.xml", "src/jenkinsfiles.py",
        "Makefile", "tests/conftest.py", "src/env/envrc.go", "docs/lefthook.md", "src/environment.ts", "run/main.go",
        "docs/agent.md", "weights/model.pth",
    ],
)  # fmt: skip
def test_ordinary_files_pass(path: str) -> None:
    assert judge([path]).verdict is Verdict.PASS


def test_a_rename_counts_by_both_of_its_names() -> None:
    away = Change("ci.yml", "R", 0, 0, old_path=".github/workflows/ci.yml")
    into = Change(".github/workflows/ci.yml", "R", 0, 0, old_path="ci.yml")
    assert judge([away]).route is judge([into]).route is Route.ASK
    assert judge([Change("src/a.py", "R", 0, 0, old_path="lib/a.py")], allowed=["src/"]).route is Route.REPAIR


def test_too_many_files_ask() -> None:
    many = [f"src/{number}.py" for number in range(51)]
    judgement = judge(many)
    assert (judgement.verdict, judgement.route) == (Verdict.FAIL, Route.ASK)
    assert judgement.evidence[0]["number"] == 51
    assert judge(many[:50]).verdict is Verdict.PASS


def test_the_strictest_finding_decides_and_all_are_told() -> None:
    judgement = judge(["lib/a.py", "lib/b.py", ".env"], allowed=["src/"])
    assert judgement.route is Route.ASK
    assert judgement.reason == "protected path .env; outside the allowed paths (×2)"
    assert [item["file"] for item in judgement.evidence] == [".env", "lib/a.py", "lib/b.py"]


def test_a_submodule_asks() -> None:
    assert judge([Change("vendor/x", "M", 1, 1, mode="160000")]).route is Route.ASK


@pytest.mark.parametrize(
    ("path", "target", "leaves"),
    [
        ("a/link", b"../b", False),
        ("a/link", b"b/c", False),
        ("link", b"../x", True),
        ("a/link", b"../../x", True),
        ("a/link", b"b/../../../x", True),
        ("link", b"/etc/passwd", True),
        ("link", b"~/x", True),
        ("link", b"C:\\x", True),
        ("a/link", b"..\\..\\x", True),
        ("link", b".git/hooks", True),
        ("a/link", b"../.GIT/config", True),
        ("link", b"", True),
        ("link", b"a\0b", True),
        ("link", b"caf\xe9", False),
    ],
)
def test_symbolic_links_out_of_the_repository(path: str, target: bytes, leaves: bool) -> None:
    assert leaves_repository(path, target) is leaves
    link = Change(path, "A", 1, 0, mode="120000")
    judgement = judge([link], files={("head", path): target})
    assert judgement.route is (Route.ASK if leaves else Route.PROCEED)


def test_an_unreadable_link_asks() -> None:
    assert judge([Change("link", "A", 1, 0, mode="120000")]).route is Route.ASK


def test_an_executable_data_file_is_noted() -> None:
    judgement = judge([Change("data.json", "A", 1, 0, mode="100755"), Change("run.sh", "A", 1, 0, mode="100755")])
    assert (judgement.verdict, judgement.route) == (Verdict.CONCERNS, Route.PROCEED)
    assert len(judgement.evidence) == 1


@pytest.mark.parametrize(
    ("lockfile", "manifest"),
    [
        ("package-lock.json", "package.json"),
        ("yarn.lock", "package.json"),
        ("pnpm-lock.yaml", "packages/web/package.json"),
        ("uv.lock", "pyproject.toml"),
        ("poetry.lock", "pyproject.toml"),
        ("Cargo.lock", "crates/x/Cargo.toml"),
        ("go.sum", "go.mod"),
        ("Gemfile.lock", "Gemfile"),
        ("Gemfile.lock", "x.gemspec"),
        ("composer.lock", "composer.json"),
        ("web/package-lock.json", "web/package.json"),
    ],
)
def test_a_lockfile_changes_only_with_its_manifest(lockfile: str, manifest: str) -> None:
    alone = judge([lockfile, "src/a.py"])
    assert (alone.verdict, alone.route) == (Verdict.FAIL, Route.REPAIR)
    assert judge([lockfile, manifest]).verdict is Verdict.PASS


def test_another_package_s_manifest_does_not_cover_a_lockfile() -> None:
    assert judge(["web/package-lock.json", "api/package.json"]).route is Route.REPAIR


def test_requirements_are_a_lockfile_only_where_they_are_compiled() -> None:
    assert judge(["requirements.txt"]).verdict is Verdict.PASS
    compiled = {("head", "requirements.in"): b"flask\n"}
    assert judge(["requirements.txt"], files=compiled).route is Route.REPAIR
    assert judge(["requirements.txt", "requirements.in"], files=compiled).verdict is Verdict.PASS


STORY = b"---\nid: S-1\nstatus: ready\n---\n## Acceptance Criteria\n- [ ] it works\n- [ ] it is fast\n"


@pytest.mark.parametrize(
    ("after", "fine"),
    [
        (STORY.replace(b"ready", b"done"), True),
        (STORY.replace(b"status: ready", b"status: done\nupdated_at: 2026-02-09"), True),
        (STORY.replace(b"[ ]", b"[x]"), True),
        (STORY.replace(b"- [ ] it is fast\n", b""), False),
        (STORY.replace(b"it works", b"it starts"), False),
        (STORY.replace(b"[ ] it works", b"[x] it starts"), False),
        (STORY.replace(b"status: ready", b"status: [done]"), False),
        (STORY + b"- Status: the light is green | and more\n", False),
        (STORY + b"\xff\xfe\n", False),
        (b"", False),
    ],
)
def test_the_story_s_own_file_may_change_in_its_status_only(after: bytes, fine: bool) -> None:
    assert (not status_only(STORY, after)) is fine
    files = {("base", "plans/backlog/S-1.md"): STORY, ("head", "plans/backlog/S-1.md"): after}
    judgement = judge(["plans/backlog/S-1.md"], files=files, allowed=["src/"])
    assert judgement.route is (Route.PROCEED if fine else Route.REPAIR)


def test_the_story_s_own_file_may_move_to_another_lane_but_not_away() -> None:
    old = "plans/backlog/S-1.md"
    for new, fine in (("plans/completed/S-1.md", True), ("src/S-1.md", False), ("plans/backlog/S-2.md", False)):
        files = {("base", old): STORY, ("head", new): STORY}
        judgement = judge([Change(new, "R", 0, 0, old_path=old)], files=files)
        assert judgement.route is (Route.PROCEED if fine else Route.REPAIR), new
    gone = judge([Change(old, "D", 0, 9, mode="000000")], files={("base", old): STORY})
    assert gone.route is Route.REPAIR


def test_nothing_but_the_story_s_own_file_is_empty_work() -> None:
    async def empty(*changes: str, report: Report | None = None) -> Judgement:
        return await EmptyGate().judge(context_of(changes, report=report))

    assert asyncio.run(empty("src/a.py")).verdict is Verdict.PASS
    nothing = asyncio.run(empty(report=Report(summary="It was done already.")))
    assert (nothing.verdict, nothing.route, nothing.reason) == (Verdict.FAIL, Route.ASK, "the run changed nothing")
    assert nothing.evidence[0]["excerpt"] == "It was done already."
    own = asyncio.run(empty("plans/backlog/S-1.md"))
    assert own.route is Route.ASK
    blocked = asyncio.run(empty(report=Report(blocked="no\x00 access\nto the API")))
    assert "blocked: no access to the API" in blocked.reason


PATHS = st.text(st.characters(blacklist_characters="\0"), min_size=1, max_size=40)
PATTERNS = st.text(st.sampled_from("ab/.*?[]!-{}\\\u200bA"), max_size=20) | PATHS


@settings(max_examples=300)
@given(PATTERNS, PATHS)
def test_no_pattern_and_no_path_crash_the_matching(pattern: str, path: str) -> None:
    if matches(pattern, path):
        assert matches(pattern, path + "/below")
    matches_loosely(pattern, path)
    hidden(path)
    assert plain(plain(path)) == plain(path)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["src", "a", ".github", "x.py", "Ä"]), min_size=1, max_size=4), st.data())
def test_a_path_protects_itself_in_every_spelling(parts: list[str], data: st.DataObject) -> None:
    path = "/".join(parts)

    def disguise(character: str) -> str:
        return data.draw(st.sampled_from([character, character.upper(), character + "\u200b", character.lower()]))

    disguised = data.draw(st.sampled_from(["", "./", ".//"])) + "".join(map(disguise, path))
    assert matches_loosely(path, disguised)
    assert matches_loosely(path + "/", disguised + "/below")
    assert canonical(canonical(disguised)) == canonical(disguised)


def test_many_wildcards_do_not_blow_up() -> None:
    began = time.monotonic()
    assert not matches("**/a" * 30 + "/b", "/".join(["a"] * 400) + "/c")
    assert not matches("*a" * 30 + "b", "a" * 4_000)
    assert time.monotonic() - began < 2


def test_a_change_of_very_many_files_is_judged_in_seconds() -> None:
    began = time.monotonic()
    judgement = judge([f"src/deep/down/file{number}.py" for number in range(20_000)], allowed=["src/**/*.py", "lib"])
    assert judgement.route is Route.ASK
    assert time.monotonic() - began < 10
