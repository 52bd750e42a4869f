"""Story ids: how they look in file names, headings and lists, and which of them can be a branch name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

# What ``git check-ref-format`` takes below ``auto-dev/``, and a little less: no character that a shell or a file
# system would mind.
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")

# Letters, then segments, with at least one digit in a later segment: WISH-2005a, SETS-MVP-001, WO-2026-032, task_7.
_DASHED = r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*?[-_]\d+(?:\.\d+)*[A-Za-z]?(?:[-_]\d+[A-Za-z]?|[-_][A-Z]{1,3}\d*)*"
_JOINED = r"[A-Z]{1,6}\d{1,6}[a-z]?(?:[-_.]?[A-Z]{0,2}\d+[a-z]?)*"  # T051, E2S3, US-001 goes to _DASHED
_DOTTED = r"\d{1,4}(?:[.-]\d{1,4}){0,3}[a-z]?"  # 1.1, 001, 3.2a: only after "Story" or at the start of a file name

_END = r"(?![A-Za-z0-9])"
_LETTERED = re.compile(rf"(?:{_DASHED}|{_JOINED}){_END}")
_NUMBERED = re.compile(rf"{_DOTTED}{_END}")
_DATE = re.compile(r"\d{4}-\d{2}(?:-\d{2})?(?!\d)|\d{8}(?!\d)")
_DATED = re.compile(r"[-_](?:19|20)\d{2}[-_]?[01]\d[-_]?[0-3]\d(?!\d)")
_IN_TEXT = re.compile(rf"(?<![A-Za-z0-9/_-])[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*-\d+[A-Za-z]?(?:-[A-Z0-9]{{1,4}})?{_END}")
_KIND = r"(?:user\s+story|story|task|ticket|issue|feature|bug|chore|spike|work\s+order|wo)"
_HEADING = re.compile(
    rf"(?:(?P<kind>{_KIND})\s+#?(?P<numbered>{_DOTTED})|(?:{_KIND}\s+)?(?P<lettered>{_LETTERED.pattern})){_END}"
    r"[`*\]~]*(?:\([^)]*\)|\s*\[[^\]]*\])?\s*(?P<sep>[:.)|\u2013\u2014]|\s-+\s|\s+|\Z)\s*(?P<title>.*)",
    re.IGNORECASE | re.DOTALL,
)

# Prefixes of things that are numbered but are no stories: criteria, requirements, records, standards.
_NOT_STORIES: Final = frozenset(
    [
        "AC",
        "ACS",
        "TC",
        "FR",
        "NFR",
        "REQ",
        "ADR",
        "RFC",
        "EC",
        "DEC",
        "ASM",
        "RISK",
        "GAP",
        "CVE",
        "UTF",
        "ISO",
        "SHA",
        "MD5",
        "HTTP",
        "PHASE",
        "STEP",
        "SPRINT",
        "WEEK",
        "DAY",
        "VERSION",
        "V",
        "EPIC",
        "MILESTONE",
        "ITERATION",
        "RELEASE",
        "WAVE",
        "BATCH",
        "GROUP",
        "TIER",
        "TRACK",
        "MODULE",
        "LEVEL",
        "PEP",
        "CWE",
        "KPI",
        "OKR",
        "Q",
        "FIG",
        "TABLE",
        "SECTION",
        "APPENDIX",
        "PART",
        "H",
    ]
)
# First words of documents that accompany a story: ELAB-WISH-2005a.md is not a story of its own.
_COMPANIONS: Final = re.compile(
    r"(?:ELAB(?:ORATION)?|PROOF|QA(?:[-_](?:VERIFY|GATE|REPORT|REVIEW))?|(?:CODE[-_])?REVIEW|TEST[-_]PLAN|EVIDENCE|"
    r"CONTEXT|CHECKPOINT|HANDOFF|FIX[-_](?:CONTEXT|LOG)|NOTES?|SUMMARY|DECISIONS?|BLOCKERS?|ANALYSIS|VERIFICATION|"
    r"TOKEN[-_]LOG|RETRO|IMPLEMENTATION[-_]PLAN|DEV[-_]FEASIBILITY|UAT|SCOPE|REPORT|PLAN)[-_](?=[A-Za-z]+[-_].*\d)",
    re.IGNORECASE,
)
_OWN_NAMES: Final = frozenset({"story", "readme", "index", "task", "ticket"})


def fault(story_id: str) -> str:
    """Why ``story_id`` cannot be a branch name; empty when it can."""
    if not story_id:
        return "is empty"
    if len(story_id) > 64:
        return f"has {len(story_id)} characters, more than 64"
    if not _VALID.match(story_id):
        bad = "".join(dict.fromkeys(c for c in story_id if not re.match(r"[A-Za-z0-9._-]", c)))
        return f"contains {bad!r}" if bad else f"begins with {story_id[0]!r}"
    if ".." in story_id:
        return "contains '..'"
    if story_id.endswith("."):
        return "ends with '.'"
    if story_id.lower().endswith(".lock"):
        return "ends with '.lock'"
    return ""


def suggest(text: str) -> str:
    """An id like ``text`` that can be a branch name; may be empty."""
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", text)
    slug = re.sub(r"\.{2,}", ".", slug).strip("-._")[:64].rstrip("-._")
    return re.sub(r"(?i)\.lock$", "", slug).rstrip("-._")


def counts(story_id: str) -> bool:
    """Whether an id that was only found in a text, not stated, may be a story's: ``AC-7`` and ``ADR-001`` are not."""
    prefix = re.match(r"[A-Za-z]*", story_id)
    return bool(re.search(r"\d", story_id)) and (prefix[0].upper() if prefix else "") not in _NOT_STORIES


def leading(text: str) -> str:
    """The id with letters at the start of ``text`` (a file name's stem); empty when there is none."""
    match = _LETTERED.match(text)
    return match[0] if match and counts(match[0]) and not _DATED.search(match[0]) else ""


def leading_number(text: str) -> str:
    """The number at the start of a file name's stem (``001-add-login``, ``1.2.login``); empty for a date."""
    match = _NUMBERED.match(text)
    return match[0].rstrip(".-") if match and not _DATE.match(text) else ""


def in_heading(text: str) -> tuple[str, str]:
    """``WISH-7: Title``, ``WISH-7 — Title``, ``Story 1.2: Title`` as (id, title); ("", text) for any other heading."""
    plain = re.sub(r"^[^\w]+", "", text.strip()[:500])
    match = _HEADING.match(plain)
    if not match:
        return "", text.strip()
    found = match["numbered"] or match["lettered"] or ""
    if not counts(found):
        return "", text.strip()
    title = (match["title"] or "").strip().strip("*`").lstrip("-:\u2013\u2014 ").strip()
    return found, title.removesuffix("~~").strip()


def mentioned(text: str) -> list[str]:
    """All ids in capitals that a sentence names, in order."""
    return list(dict.fromkeys(found for found in _IN_TEXT.findall(text) if counts(found)))


def is_own_folder(name: str) -> bool:
    """Whether a folder of this name belongs to one story."""
    match = _LETTERED.match(name)
    return bool(match and counts(match[0]) and (match.end() == len(name) or name[match.end()] in "-_ ."))


def folder_id(path: str) -> str:
    """The id of the nearest story folder that the file ``path`` lies in; empty when there is none."""
    for name in reversed(PurePosixPath(path).parts[:-1]):
        if is_own_folder(name):
            return leading(name)
    return ""


def is_companion_name(path: str) -> bool:
    """Whether the file's name says that it accompanies a story: ``PROOF-X-1.md``, ``NOTES.md`` in X-1's folder."""
    where = PurePosixPath(path)
    stem, owner = where.stem.lower(), folder_id(path).lower()
    if _COMPANIONS.match(stem):
        return True
    if not owner:
        return False
    own = leading(stem)
    if is_own_folder(where.parent.name):
        if stem in _OWN_NAMES or stem == where.parent.name.lower():
            return False
        return not own or (own != owner and own.endswith(f"-{owner}"))
    return own in ("", owner) or own.endswith(f"-{owner}")


def own_rank(path: str, story_id: str) -> int:
    """How surely the file is the story's own: 0 named by the bare id, 1 story.md or README.md, 2 anything else."""
    stem = PurePosixPath(path).stem.lower()
    return 0 if stem == story_id.lower() else 1 if stem in _OWN_NAMES else 2
