"""Settings that were loosened: tests deselected, thresholds lowered, rules of linters and type checkers relaxed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from auto_dev.gates.covers import meant
from auto_dev.gates.evidence import Finding, entry
from auto_dev.gates.settings import Settings, read_settings
from auto_dev.gates.syntax.suite import language_of
from auto_dev.model import Route


class Way(Enum):
    """How a setting loosens a check."""

    GROWS = "names more"
    SHRINKS = "names less"
    LOWERS = "is lower"
    OFF = "is off"
    ON = "is on"
    OPTIONS = "has other options"
    SET = "is there"


@dataclass(frozen=True, slots=True)
class Rule:
    """``key``: matches a setting's path (in lower case); ``topic``: what a story must speak of to ask for it."""

    key: re.Pattern[str]
    way: Way
    kind: str
    topic: re.Pattern[str]


_CHOICE: Final = (
    r"(?:deselect|exclud|ignor|skip|slow|quarantin|separat|split|select|leav|disabl)\w*|no longer run|not run|opt[- ]in"
)
_SUITE: Final = r"tests?|suites?|specs?|e2e|end[- ]to[- ]end|pytest|jest|vitest|playwright|markers?"
TESTS: Final = re.compile(
    rf"(?i)\b(?:{_CHOICE})\b[^.\n]{{0,60}}\b(?:{_SUITE})\b|\b(?:{_SUITE})\b[^.\n]{{0,60}}\b(?:{_CHOICE})\b"
)
_COVERAGE: Final = re.compile(r"(?i)\bcoverage|\bthresholds?\b")
_LINT: Final = re.compile(r"(?i)\b(?:lint\w*|ruff|flake8|pylint|eslint|biome|clippy|golangci|rules?)\b")
_TYPES: Final = re.compile(r"(?i)\b(?:types?|typing|mypy|pyright|tsconfig|typescript|strict\w*)\b")

_TABLE: Final[tuple[tuple[str, Way, str, re.Pattern[str]], ...]] = (
    (r"(?:^|\.)addopts$", Way.OPTIONS, "tests are deselected", TESTS),
    (r"(?:^|\.)(?:norecursedirs|collect_ignore(?:_glob)?|testpathignorepatterns|excludespecpattern)$", Way.GROWS,
     "tests are deselected", TESTS),
    (r"(?:^|\.)(?:testignore|excludedgroups?)$", Way.GROWS, "tests are deselected", TESTS),
    (r"(?:^|\.)test\.exclude$", Way.GROWS, "tests are deselected", TESTS),
    (r"(?:^|\.)(?:testpaths|testmatch|testregex|python_(?:files|functions|classes)|test\.include|specpattern)$",
     Way.SHRINKS, "tests are deselected", TESTS),
    (r"(?:^|\.)(?:roots|testdir|test\.dir|spec)$", Way.SHRINKS, "tests are deselected", TESTS),
    (r"(?:^|\.)(?:grep|grepinvert|testnamepattern)$", Way.SET, "tests are deselected", TESTS),
    (r"(?:^|\.)autotests$|^(?:lib|bin|test)(?:\.\d+)?\.(?:test|harness)$", Way.OFF, "tests are deselected", TESTS),
    (r"(?:^|\.)(?:xfail_strict|strict_markers|forbidonly)$", Way.OFF, "less fails the tests", TESTS),
    (r"(?:^|\.)(?:dangerouslyignoreunhandlederrors|allowonly|testfailureignore|ignorefailures|skiptests)$", Way.ON,
     "less fails the tests", TESTS),
    (r"(?:^|\.)passwithnotests$", Way.ON, "no test at all is a success", TESTS),
    (r"(?:^|\.)(?:fail_under|coveragethreshold\..+|(?:coverage\.)?thresholds?\..+)$", Way.LOWERS,
     "a threshold is lower", _COVERAGE),
    (r"^(?:branches|lines|functions|statements)$", Way.LOWERS, "a threshold is lower", _COVERAGE),
    (r"(?:^|\.)check-coverage$", Way.OFF, "a threshold is lower", _COVERAGE),
    (r"(?:^|\.)(?:coverage\.)?(?:run|report)\.omit$|(?:^|\.)coveragepathignorepatterns$", Way.GROWS,
     "less is measured for coverage", _COVERAGE),
    (r"(?:^|\.)(?:flake8|ruff|lint|pycodestyle|pylint)\.(?:lint\.)?(?:extend-)?ignore$", Way.GROWS,
     "a linter's rules are relaxed", _LINT),
    (r"^(?:lint\.)?(?:extend-)?ignore$|(?:^|\.)messages control\.disable$|(?:^|\.)linters\.disable$", Way.GROWS,
     "a linter's rules are relaxed", _LINT),
    (r"(?:^|\.)(?:extend-)?per-file-ignores(?:\..+)?$|(?:^|\.)ignorepatterns$|(?:^|\.)ruff\.(?:extend-)?exclude$",
     Way.GROWS, "a linter's rules are relaxed", _LINT),
    (r"(?:^|\.)(?:ruff|flake8|lint)\.(?:lint\.)?(?:extend-)?select$|(?:^|\.)linters\.enable$", Way.SHRINKS,
     "a linter's rules are relaxed", _LINT),
    (r"(?:^|\.)(?:rules|lints\.\w+)\.[^.]+$", Way.OFF, "a linter's rules are relaxed", _LINT),
    (r"(?:^|\.)(?:mypy[^.]*|overrides\.\d+)\.(?:strict|disallow_\w+|warn_\w+|check_untyped_defs|no_implicit_\w+|strict_\w+)$",
     Way.OFF, "type checking is relaxed", _TYPES),
    (r"(?:^|\.)(?:mypy[^.]*|overrides\.\d+)\.(?:ignore_errors|allow_\w+|ignore_missing_imports)$", Way.ON,
     "type checking is relaxed", _TYPES),
    (r"(?:^|\.)mypy[^.]*\.(?:disable_error_code|exclude)$|(?:^|\.)pyright\.(?:exclude|ignore)$", Way.GROWS,
     "type checking is relaxed", _TYPES),
    (r"(?:^|\.)compileroptions\.(?:strict\w*|no[a-z]\w+|exact\w+|checkjs|use\w+catch\w+)$", Way.OFF,
     "type checking is relaxed", _TYPES),
    (r"(?:^|\.)(?:pyright\.)?(?:typecheckingmode|report\w+)$", Way.OFF, "type checking is relaxed", _TYPES),
)  # fmt: skip
RULES: Final = tuple(Rule(re.compile(key), way, kind, topic) for key, way, kind, topic in _TABLE)

_PYTEST: Final = re.compile(
    r"(?:^|\.)(?:norecursedirs|collect_ignore(?:_glob)?|testpaths|addopts|python_(?:files|functions|classes))$"
)
_NO_FILES: Final = frozenset(("python_functions", "python_classes", "excludedgroup", "excludedgroups"))
_DEFAULTS: Final = {"python_functions": ("test",), "python_classes": ("Test",)}
_BENIGN: Final = re.compile(
    r"node_modules|\bdist\b|\bbuild\b|\.git\b|\.?venv|__pycache__|coverage|\.next|\.cache|vendor|generated|migrations"
)
_WEAK: Final = frozenset(("false", "off", "0", "none", "warn", "warning", "1", "information", "basic", "allow", "no"))
_STRONG: Final = frozenset(("true", "error", "2", "strict", "standard", "deny", "forbid", "yes", "on"))
_DESELECTS: Final = re.compile(
    r"--(?:ignore(?:-glob)?|deselect)[= ]\S+|(?<!\S)-k[= ]?(?:'[^']*'|\"[^\"]*\"|\S+)"
    r"|(?<!\S)-m[= ]?(?:'[^']*'|\"[^\"]*\"|not\s\S+|\S+)|--collect-only|(?<!\S)--co\b|--setup-(?:only|plan)"
)
_FLOOR: Final = re.compile(r"--cov-fail-under[= ](\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Around:
    """What else tells whether a setting is looser: the ``story``'s words, the ``tests`` that are on both sides, and the
    ``elsewhere``: last names of the settings in other changed files, where one may have moved."""

    story: str = ""
    tests: tuple[str, ...] = ()
    elsewhere: frozenset[str] = frozenset()


def judge_loosened(path: str, before: bytes | None, after: bytes | None, around: Around) -> list[Finding]:
    """What a settings file checks less than it did; what the story asks for is only noted. Pure."""
    if after is None:
        return []
    old, new = (_lowered(read_settings(path, source or b"")) for source in (before, after))
    found: list[Finding] = []
    for key in sorted({*old, *new}):
        for rule in RULES:
            if rule.key.search(key):
                found += _loosened(path, after, key, rule, old, new, around)
                break
    return found


def setting_names(path: str, source: bytes | None) -> frozenset[str]:
    """The last names of what a settings file sets."""
    return frozenset(_last(key) for key in _lowered(read_settings(path, source or b"")))


def _loosened(
    path: str, source: bytes, key: str, rule: Rule, old: Settings, new: Settings, around: Around
) -> list[Finding]:
    default = _DEFAULTS.get(_last(key), ()) if _PYTEST.search(key) else ()
    was, now = old.get(key, default), new.get(key, ())
    lost = list(_ways(rule.way, was, now, known=key in old or bool(default), gone=key not in new))
    always = _PYTEST.search(key) is not None  # pytest runs without any setting, so its tests ran before
    fresh = not always and not _set_up(key, old)
    if rule.way is Way.OPTIONS:
        lost = [option for option in lost if not _spares(option, around.tests)]
    if rule.topic is TESTS and rule.way in (Way.GROWS, Way.SHRINKS) and _last(key) not in _NO_FILES:
        own = "python" if always else "javascript"
        unseen = _unseen(rule.way, was, now, tuple(test for test in around.tests if language_of(test) == own))
        if not unseen or (key not in new and not lost):
            return []
        lost = lost or sorted(unseen)[:3]
    if not lost:
        return []
    moved = key not in new and _last(key) in around.elsewhere
    route = Route.PROCEED if fresh or moved or rule.topic.search(around.story) else Route.REPAIR
    title = f"{rule.kind}: {key}"
    excerpt = "\n".join([f"- {', '.join(was) or '(nothing)'}"[:400], f"+ {', '.join(now) or '(nothing)'}"[:400]])
    return [Finding(route, rule.kind, entry(title, file=path, at=_line(source, key, lost), excerpt=excerpt))]


def _spares(option: str, tests: tuple[str, ...]) -> bool:
    """Whether ``--ignore=x`` means no test that was there before."""
    match = re.match(r"--(?:ignore(?:-glob)?|deselect)[= ](\S+)", option)
    return match is not None and not meant([match[1]], tests)


def _unseen(way: Way, was: tuple[str, ...], now: tuple[str, ...], tests: tuple[str, ...]) -> set[str]:
    """The test files that were taken and are not any more."""
    if way is Way.GROWS:
        return meant([word for word in now if word not in was], tests)
    if not now:
        return set()
    return (meant(was, tests) if was else set(tests)) - meant(now, tests)


def _set_up(key: str, old: Settings) -> bool:
    """Whether the tool that ``key`` belongs to had settings before."""
    deep = 2 if key.startswith("tool.") else 1
    if "." not in key:
        return bool(old)
    return any(known.split(".")[:deep] == key.split(".")[:deep] for known in old)


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _ways(way: Way, was: tuple[str, ...], now: tuple[str, ...], *, known: bool, gone: bool) -> Iterator[str]:
    """What is looser now; nothing when nothing is."""
    if way is Way.GROWS:
        yield from (word for word in now if word not in was and not _BENIGN.search(word))
    elif way is Way.SHRINKS:
        if known and not gone:
            yield from (word for word in was if word not in now and not any(_wider(word, one) for one in now))
    elif way is Way.LOWERS:
        before, after = _number(was), _number(now)
        if before is not None and (gone or (after is not None and after < before)):
            yield f"{before:g}"
    elif way is Way.OFF:
        first, second = _first(was), _first(now)
        if (first in _STRONG and (second in _WEAK or gone)) or (not known and second in _WEAK and second != "1"):
            yield second
    elif way is Way.ON:
        if _first(now) == "true" and _first(was) != "true":
            yield "true"
    elif way is Way.SET:
        yield from (word for word in now if word not in was and word not in ("", "null", "undefined"))
    else:
        yield from _options(" ".join(was), " ".join(now))


def _wider(word: str, other: str) -> bool:
    """``test*`` holds ``test_*``."""
    return word.startswith(other.rstrip("*"))


def _options(was: str, now: str) -> Iterator[str]:
    known = set(_DESELECTS.findall(was))
    yield from (option for option in _DESELECTS.findall(now) if option not in known)
    before, after = _FLOOR.search(was), _FLOOR.search(now)
    if before and (after is None or float(after[1]) < float(before[1])):
        yield before[0]


def _lowered(settings: Settings) -> Settings:
    return {key.lower(): values for key, values in settings.items()}


def _first(words: tuple[str, ...]) -> str:
    return words[0].lower() if words else ""


def _number(words: tuple[str, ...]) -> float | None:
    try:
        return float(words[0]) if words else None
    except ValueError:
        return None


def _line(source: bytes, key: str, lost: Iterable[str]) -> int | None:
    """Where the setting stands, as far as a look tells."""
    lines = source.decode("utf-8", "replace").lower().split("\n")
    for word in (*(word.lower() for word in lost), key.rsplit(".", 1)[-1]):
        for number, text in enumerate(lines, 1):
            if word and word in text:
                return number
    return None
