"""The report that every agent leaves at ``$AUTO_DEV_REPORT``: a claim, never a verdict.

A missing or broken report is not a success: the confidence counts as unknown and the confidence gate asks.

The reader is lenient only where the meaning is certain: a confidence of ``"0.85"``, ``"85%"`` or ``85`` is 0.85 (but
``7`` is refused: of ten, or of a hundred?), evidence may be one string, a criterion or decision may be a bare string,
``blocked`` may be true or false, a place may be ``"app.py:12"``. All else that does not fit is a broken report, and the
problem names the key.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Final, overload

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from auto_dev.text import jsonable, line

MAX_BYTES: Final = 1_000_000
_TEXT_LIMIT: Final = 20_000


def _texts(value: Any) -> Any:
    """A list of strings, where one string or numbers also tell what is meant."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [str(v) if isinstance(v, (int, float)) and not isinstance(v, bool) else v for v in value]
    return value


def _text(value: Any) -> Any:
    return "" if value is None else value


def _entries(value: Any) -> Any:
    return [] if value is None else value


def _word(value: Any) -> Any:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _former(value: Any) -> Any:
    """A list; a mapping of id to answer tells the same."""
    if isinstance(value, dict):
        return [{"id": key, **(one if isinstance(one, dict) else {"resolved": one})} for key, one in value.items()]
    return _entries(value)


def _yes(value: Any, yes: tuple[str, ...], no: tuple[str, ...]) -> Any:
    """A truth value, also in words."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "yes", *yes):
            return True
        if word in ("false", "no", "", *no):
            return False
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValueError("use true or false")  # noqa: TRY004 (pydantic reports ValueErrors)
    return value


_PLACE: Final = re.compile(r"(?P<file>[^\n]*?)(?::|#L)(?P<line>\d{1,7})(?:[-:,]\d+)*\Z")
_FIRST_LINE: Final = re.compile(r"L?(\d{1,7})(?:\s*[-–:,]\s*L?\d{1,7})?")
Texts = Annotated[list[str], BeforeValidator(_texts), Field(max_length=100)]


class CriterionClaim(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    criterion: Annotated[str, Field(min_length=1)]
    evidence: Texts = []

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"criterion": value} if isinstance(value, str) else value


class DecisionWish(BaseModel):
    """A question that the agent wants a person to answer. ``tier`` 1 clarification … 5 external effects."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    question: Annotated[str, Field(min_length=1)]
    options: Texts = []
    recommended: str | None = None
    tier: Annotated[int, Field(ge=1, le=5)] = 3

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"question": value} if isinstance(value, str) else value

    @field_validator("tier", mode="before")
    @classmethod
    def _tier(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("use a number from 1 to 5")  # noqa: TRY004 (pydantic reports ValueErrors)
        return 3 if value is None else value


class Report(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    summary: Annotated[str, BeforeValidator(_text)] = ""
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    criteria: Annotated[list[CriterionClaim], BeforeValidator(_entries), Field(max_length=200)] = []
    decisions: Annotated[list[DecisionWish], BeforeValidator(_entries), Field(max_length=50)] = []
    blocked: str | None = None

    @field_validator("confidence", mode="before")
    @classmethod
    def _confidence(cls, value: Any) -> Any:
        return None if value is None else _fraction(value)

    @field_validator("blocked", mode="before")
    @classmethod
    def _blocked(cls, value: Any) -> Any:
        if value is True:
            return "the agent says that it is blocked, and not by what"
        if value is False or (isinstance(value, str) and not value.strip()):
            return None
        return value


class ReviewFinding(BaseModel):
    """One thing that a reviewer found. ``why_outside``: why a line that the change did not touch matters."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    file: Annotated[str, BeforeValidator(_text)] = ""
    line: int | None = None
    title: Annotated[str, Field(min_length=1)]
    detail: Annotated[str, BeforeValidator(_text)] = ""
    blocking: bool = False
    criterion: Annotated[str, BeforeValidator(_word)] = ""
    why_outside: Annotated[str, BeforeValidator(_text)] = ""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"title": value}
        if not isinstance(value, dict):
            return value
        found = dict(value)
        match = _PLACE.match(found["file"]) if isinstance(found.get("file"), str) else None
        if match is not None:
            found |= {"file": match["file"], "line": found.get("line") or match["line"]}
        if not found.get("title") and isinstance(found.get("detail"), str):
            found["title"] = found["detail"].strip().split("\n", 1)[0]
        if "blocking" not in found and str(found.get("severity", "")).lower() in ("blocking", "blocker"):
            found["blocking"] = True
        return found

    @field_validator("line", mode="before")
    @classmethod
    def _line(cls, value: Any) -> Any:
        match = _FIRST_LINE.fullmatch(value.strip()) if isinstance(value, str) else None
        number = int(match[1]) if match else value
        if number is None or number == "" or (number == 0 and number is not False):
            return None
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number != int(number) or number > 10**9:
            raise ValueError("use the number of a line")
        return int(number)

    @field_validator("blocking", mode="before")
    @classmethod
    def _blocking(cls, value: Any) -> Any:
        return _yes(value, ("blocking",), ("non-blocking",))


class FormerFinding(BaseModel):
    """What a reviewer says of a finding of an earlier round, by its ``id``."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    id: Annotated[str, Field(min_length=1)]
    resolved: bool
    detail: Annotated[str, BeforeValidator(_text)] = ""

    @field_validator("resolved", mode="before")
    @classmethod
    def _resolved(cls, value: Any) -> Any:
        return _yes(value, ("resolved",), ("unresolved", "not resolved"))


class ReviewReport(Report):
    """A reviewer's report. ``receipt``: the word at the end of the change's file, which only who read it knows."""

    findings: Annotated[list[ReviewFinding], BeforeValidator(_entries), Field(max_length=100)] = []
    former: Annotated[list[FormerFinding], BeforeValidator(_former), Field(max_length=100)] = []
    receipt: Annotated[str, BeforeValidator(_word)] = ""


@overload
def read_report(path: Path) -> tuple[Report | None, str]: ...
@overload
def read_report(path: Path, kind: type[ReviewReport]) -> tuple[ReviewReport | None, str]: ...
def read_report(path: Path, kind: type[Report] = Report) -> tuple[Report | None, str]:
    """The report at ``path`` and "" — or ``None`` and what is wrong with it, in one line.

    Never raises for what an agent may have put there: a link, a FIFO, a folder, too much, anything but a report.
    """
    try:
        # No link is followed and no FIFO waited for: the agent owns the folder.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, "the agent left no report"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None, "the report is a symbolic link"
        return None, f"the report cannot be opened: {error.strerror}"
    except ValueError:
        return None, "the report's path is no path"
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None, "the report is not a regular file"
        with os.fdopen(os.dup(fd), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return None, f"the report cannot be read: {error.strerror}"
    finally:
        os.close(fd)
    return parse_report(data, kind)


def parse_report(data: bytes, kind: type[Report] = Report) -> tuple[Report | None, str]:
    """The report in ``data`` (UTF-8 JSON) and "", or ``None`` and what is wrong with it, in one line."""
    if len(data) > MAX_BYTES:
        return None, f"the report is larger than {MAX_BYTES:,} bytes"
    if not data.strip():
        return None, "the report is empty"
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
        if not isinstance(value, dict):
            return None, "the report is not a JSON object"
        return kind.model_validate(jsonable(value, text_limit=_TEXT_LIMIT)), ""
    except UnicodeDecodeError:
        return None, "the report is not UTF-8"
    except ValidationError as error:
        return None, _explain(error)
    except RecursionError:
        return None, "the report is nested too deeply"
    except ValueError as error:  # JSONDecodeError is one; so are numbers of thousands of digits
        return None, line(f"the report is not JSON: {error}")


def _fraction(value: Any) -> float:
    """A confidence as 0..1. Raises ValueError where its meaning is not certain."""
    number, percent = value, False
    if isinstance(value, str):
        text = value.strip()
        percent = text.endswith("%")
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            raise ValueError("use a number from 0 to 1") from None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise ValueError("use a number from 0 to 1")
    if percent or 10 < number <= 100:
        number /= 100
    if not 0 <= number <= 1:
        raise ValueError("use a number from 0 to 1")
    return float(number)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float)) else ""
    return line(f"the report's {where or 'top level'} does not fit: {what}{shown}")
