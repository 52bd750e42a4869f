"""Which changed files a reviewer should look at first, and why: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_KINDS: tuple[tuple[re.Pattern[str], int, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), weight, reason)
    for pattern, weight, reason in (
        (r"(^|/)(\.github/workflows/|\.gitlab-ci|\.circleci/|jenkinsfile)", 5, "runs in CI"),
        (r"(^|/)(auth(?!or)|login|permission|secret|crypto|password|session|token)[^/]*", 4, "access or secrets"),
        (r"(^|/)migrations?/|\.sql$", 4, "database"),
        (r"(^|/)(dockerfile|docker-compose[^/]*|[^/]*\.tf|helm/|k8s/)", 3, "deployment"),
        (r"(^|/)(pyproject\.toml|setup\.(py|cfg)|package\.json|go\.mod|cargo\.toml)$", 2, "dependencies"),
        (r"(^|/)requirements[^/]*\.txt$", 2, "dependencies"),
    )
)
_TEST = re.compile(r"(^|/)(tests?|spec|__tests__)/|(^|/)test_[^/]*$|[._-](test|spec)\.[^/]+$", re.IGNORECASE)
_GENERATED = re.compile(r"(^|/)[^/]*(\.lock|-lock\.(json|yaml)|\.min\.(js|css)|\.snap)$", re.IGNORECASE)
_MODES = {"100755": "executable", "120000": "symbolic link", "160000": "submodule"}
_LARGE = 200  # changed lines


@dataclass(frozen=True, slots=True)
class FileFact:
    """One changed file. ``status``: A, M, D, R or T as git names it; ``concern``: what a gate said about it, or ""."""

    path: str
    status: str = "M"
    additions: int = 0
    deletions: int = 0
    binary: bool = False
    mode: str = "100644"
    concern: str = ""


def look_first(files: Iterable[FileFact]) -> list[tuple[FileFact, tuple[str, ...]]]:
    """``files`` with what speaks for a look: those with a concern first, then by risk, then by size."""
    judged = [(file, *_risk(file)) for file in files]
    judged.sort(key=lambda each: (not each[0].concern, -each[1], -_size(each[0]), each[0].path))
    return [(file, reasons) for file, _, reasons in judged]


def _risk(file: FileFact) -> tuple[int, tuple[str, ...]]:
    reasons = [file.concern] if file.concern else []
    if _GENERATED.search(file.path):
        return -1, (*reasons, "generated")
    weight = 0
    is_test = bool(_TEST.search(file.path))
    for pattern, points, reason in _KINDS:
        if not is_test and pattern.search(file.path):
            weight += points
            reasons.append(reason)
    if is_test and (file.status == "D" or file.deletions > file.additions):
        weight += 5
        reasons.append("tests removed")
    elif file.status == "D":
        weight += 2
        reasons.append("deleted")
    if file.mode in _MODES:
        weight += 3
        reasons.append(_MODES[file.mode])
    if file.binary:
        weight += 1
        reasons.append("binary")
    if _size(file) >= _LARGE:
        weight += 3
        reasons.append("large")
    return weight, tuple(reasons)


def _size(file: FileFact) -> int:
    return file.additions + file.deletions
