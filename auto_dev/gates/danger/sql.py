"""Statements that lose data, break those who use it, or widen rights. Pure.

What the change itself creates may be dropped, a table may be rebuilt under its own name, and the way back of a
migration (its down part) is never run by going forward.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from auto_dev.gates.danger.act import Act

_NAME: Final = r"[\w$.\"`\[\]]{1,160}"
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/|(?m:^#[^\n]*)", re.DOTALL)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_DOWN_MARK: Final = re.compile(
    r"--[ \t]*(?:\+goose[ \t]+down|migrate:down|\+migrate[ \t]+down|down\b|undo\b)", re.IGNORECASE
)
_UP_MARK: Final = re.compile(r"--[ \t]*(?:\+goose[ \t]+up|migrate:up|\+migrate[ \t]+up)", re.IGNORECASE)
_CREATED: Final = re.compile(
    rf"^CREATE\s+(?:(?:TEMP|TEMPORARY|UNLOGGED|GLOBAL|LOCAL)\s+)*TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})",
    re.IGNORECASE,
)
_REPLACED: Final = re.compile(
    rf"^(?:CREATE\s+OR\s+REPLACE\s+TABLE|INSERT\s+OVERWRITE(?:\s+TABLE)?)\s+({_NAME})", re.IGNORECASE
)
_UPDATED: Final = re.compile(
    rf"^UPDATE\s+(?:ONLY\s+)?({_NAME})\s+(?:AS\s+\w+\s+|\w+\s+)?SET\s+(.*)$", re.IGNORECASE | re.DOTALL
)
_ASSIGNED: Final = re.compile(r"(?:^|,)\s*[\"`\[]?([A-Za-z_][\w.]*)[\"`\]]?\s*=(?!=)")
_SET_ALL: Final = re.compile(r"\bWHERE\s+(?:1\s*=\s*1|true|1)\s*$", re.IGNORECASE)
_CASCADED: Final = re.compile(
    rf"^DROP\s+(TYPE|DOMAIN|EXTENSION|SEQUENCE|OWNED|VIEW|FUNCTION|ROLE|USER|TABLESPACE)\s+(?:BY\s+)?(?:IF\s+EXISTS\s+)?({_NAME}).*\bCASCADE\b",
    re.IGNORECASE | re.DOTALL,
)
_PARTITION: Final = re.compile(
    r"\b(?:DROP|TRUNCATE|DETACH)\s+PARTITION\s+(?:IF\s+EXISTS\s+)?([\w.\"`(]+)", re.IGNORECASE
)
_COLUMN_RENAMED: Final = re.compile(
    rf"\bRENAME\s+(?:COLUMN\s+)?(?!TO\b|CONSTRAINT\b|INDEX\b|KEY\b|COLUMN\b|AS\b)({_NAME})\s+TO\s+({_NAME})"
    rf"|\bCHANGE\s+(?:COLUMN\s+)?({_NAME})\s+({_NAME})\s+\w",
    re.IGNORECASE,
)
_RENAMED: Final = re.compile(rf"\bRENAME\s+TO\s+({_NAME})", re.IGNORECASE)
_ALTER: Final = re.compile(
    rf"^ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?({_NAME})\s+(.*)$", re.IGNORECASE | re.DOTALL
)
_DROP: Final = re.compile(
    rf"^DROP\s+(TABLE|DATABASE|SCHEMA|KEYSPACE|COLLECTION|MATERIALIZED\s+VIEW)\s+(?:IF\s+EXISTS\s+)?({_NAME})",
    re.IGNORECASE,
)
_DROP_COLUMN: Final = re.compile(
    rf"\bDROP\s+(?:COLUMN\s+)?(?:IF\s+EXISTS\s+)?(?!CONSTRAINT\b|INDEX\b|KEY\b|PRIMARY\b|FOREIGN\b|DEFAULT\b|NOT\b|CHECK\b|"
    rf"IDENTITY\b|EXPRESSION\b|PARTITION\b|COLUMN\b|IF\b)({_NAME})",
    re.IGNORECASE,
)
_TYPED: Final = re.compile(
    rf"\b(?:ALTER\s+(?:COLUMN\s+)?({_NAME})\s+(?:SET\s+DATA\s+)?TYPE|MODIFY\s+(?:COLUMN\s+)?({_NAME})|"
    rf"ALTER\s+COLUMN\s+({_NAME})(?=\s+(?!SET\b|TYPE\b|DROP\b|ADD\b|RESTART\b)\w)|CHANGE\s+(?:COLUMN\s+)?{_NAME}\s+({_NAME}))"
    r"\s+(\w+(?:\s*\([\d\s,]*\))?)",
    re.IGNORECASE,
)
_REQUIRED: Final = re.compile(rf"\bALTER\s+(?:COLUMN\s+)?({_NAME})\s+SET\s+NOT\s+NULL", re.IGNORECASE)
_ADDED: Final = re.compile(
    rf"\bADD\s+(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?!CONSTRAINT\b|PRIMARY\b|FOREIGN\b|UNIQUE\b|INDEX\b|KEY\b|CHECK\b|COLUMN\b|IF\b)"
    rf"({_NAME})\s+([^,;]*)",
    re.IGNORECASE,
)
_EMPTIED: Final = re.compile(
    rf"^TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?({_NAME})|^DELETE\s+FROM\s+(?:ONLY\s+)?({_NAME})(?!.*\bWHERE\b)(?!.*\bLIMIT\b)",
    re.IGNORECASE | re.DOTALL,
)
_RIGHTS: Final = re.compile(
    r"^GRANT\b|^ALTER\s+DEFAULT\s+PRIVILEGES\b|"
    r"^(?:ALTER|CREATE)\s+(?:ROLE|USER)\b.*\b(?:SUPERUSER|BYPASSRLS|CREATEROLE)\b|"
    r"^ALTER\s+TABLE\b.*\bDISABLE\s+ROW\s+LEVEL\s+SECURITY|^DROP\s+POLICY\b|^CREATE\s+POLICY\b.*\bUSING\s*\(\s*true\s*\)",
    re.IGNORECASE | re.DOTALL,
)
_DEFINED: Final = re.compile(r"^[ \t]*[\"`\[]?(\w+)[\"`\]]?\s+(\w+(?:\s*\([\d\s,]*\))?)", re.MULTILINE)

_LOST: Final = "what it holds is lost"


@dataclass(frozen=True, slots=True)
class Known:
    """What a change creates (``created``), and the columns' types before it, by column name, as far as they are found."""

    created: Collection[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)


def name_of(text: str) -> str:
    """A name without quotes and schema, in lower case."""
    return re.sub(r"[\"`\[\]]", "", text).rsplit(".", 1)[-1].lower()


def created_in(text: str) -> frozenset[str]:
    """The tables that ``text`` creates and the columns (``table.column``) that it adds, by name.

    What is dropped before it is made was there.
    """
    made: dict[str, int] = {}
    dropped: dict[str, int] = {}
    for number, (_, _, statement) in enumerate(statements(text)):
        if match := _CREATED.match(statement):
            made.setdefault(name_of(match[1]), number)
        elif match := _DROP.match(statement):
            dropped.setdefault(name_of(match[2]), number)
        elif match := _ALTER.match(statement):
            table, change = name_of(match[1]), match[2]
            for one in _ADDED.finditer(change):
                made.setdefault(f"{table}.{name_of(one[1])}", number)
            for one in _DROP_COLUMN.finditer(change):
                dropped.setdefault(f"{table}.{name_of(one[1])}", number)
    return frozenset(name for name, number in made.items() if dropped.get(name, number + 1) > number)


def types_in(text: str) -> dict[str, str]:
    """The types of the columns that ``text`` defines; one that is defined in two ways is left out."""
    found: dict[str, str] = {}
    doubtful: set[str] = set()
    for name, kind in _DEFINED.findall(
        _COMMENT.sub(" ", re.sub(r"\bADD\s+(?:COLUMN\s+)?|\(", "\n", text, flags=re.IGNORECASE))
    ):
        if found.setdefault(name.lower(), kind.lower()) != kind.lower():
            doubtful.add(name.lower())
    return {name: kind for name, kind in found.items() if name not in doubtful}


def without_down(text: str) -> str:
    """``text`` with the way back of a migration blanked."""
    rows, back = text.split("\n"), False
    for number, row in enumerate(rows):
        back = not _UP_MARK.match(row.lstrip()) if back else _DOWN_MARK.match(row.lstrip()) is not None
        if back:
            rows[number] = ""
    return "\n".join(rows)


def statements(text: str) -> Iterator[tuple[int, int, str]]:
    """The statements of ``text``: first and last line, and the statement without comments."""
    plain = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    hidden = _TEXT.sub(lambda match: re.sub(r"[^\n]", "x", match[0]), plain)
    begin = 0
    for end in [match.start() for match in re.finditer(";", hidden)] + [len(hidden)]:
        part = plain[begin:end]
        if body := part.strip():
            first = plain.count("\n", 0, begin + len(part) - len(part.lstrip())) + 1
            yield first, plain.count("\n", 0, end) + 1, body
        begin = end + 1


def acts_of(text: str, known: Known = Known(), around: str = "") -> Iterator[Act]:
    """What the statements in ``text`` do that a person must decide about. ``around``: the file that they stand in."""
    for first, last, statement in statements(text):
        for act in _of_statement(statement, known, around or text):
            yield Act(act.rule, act.subject, act.title, act.why, line=first, excerpt=f"{first}-{last}")


def _of_statement(statement: str, known: Known, around: str) -> Iterator[Act]:
    if match := _DROP.match(statement):
        kind, name = " ".join(match[1].lower().split()), name_of(match[2])
        copied = re.search(rf"\bFROM\s+(?:\w+\.)?[\"`\[]?{re.escape(name)}\b", around, re.IGNORECASE)
        rebuilt = copied and name in {name_of(one) for one in _RENAMED.findall(around)}
        if name not in known.created and not rebuilt and kind != "materialized view":
            yield Act(f"data.drop_{kind}", name, f"drops the {kind} {name}", _LOST)
    elif match := _EMPTIED.match(_SET_ALL.sub("", statement)):
        name = name_of(match[1] or match[2])
        if name not in known.created:
            yield Act("data.empty", name, f"deletes all rows of {name}", "what they hold is lost")
    elif match := _REPLACED.match(statement):
        name = name_of(match[1])
        yield Act("data.empty", name, f"replaces the table {name}", "what it held is lost")
    elif match := _CASCADED.match(statement):
        kind, name = match[1].lower(), name_of(match[2])
        yield Act("data.drop_table", name, f"drops the {kind} {name} with all that uses it", _LOST)
    elif match := _UPDATED.match(statement):
        yield from _overwritten(name_of(match[1]), match[2], known)
    elif _RIGHTS.match(statement):
        text = " ".join(statement.split())[:80]
        yield Act("access.rights", text, f"changes who may do what: {text}", "data may become open to others")
    elif match := _ALTER.match(statement):
        yield from _altered(name_of(match[1]), match[2], known, around)


def _overwritten(table: str, change: str, known: Known) -> Iterator[Act]:
    """An UPDATE of all rows, of columns that were there; one made of its own value keeps something of it."""
    if table in known.created or re.search(r"\b(?:WHERE|FROM|LIMIT)\b", _SET_ALL.sub("", change), re.IGNORECASE):
        return
    for match in _ASSIGNED.finditer(change):
        column = name_of(match[1])
        value = change[match.end() :].split(",")[0]
        if f"{table}.{column}" not in known.created and not re.search(
            rf"\b{re.escape(column)}\b", value, re.IGNORECASE
        ):
            yield Act(
                "data.overwrite",
                f"{table}.{column}",
                f"overwrites {table}.{column} in every row",
                "what was there is lost",
            )
            return


def _altered(table: str, change: str, known: Known, around: str) -> Iterator[Act]:
    if table in known.created:
        return
    for match in _PARTITION.finditer(change):
        yield Act("data.drop_table", f"{table}.{match[1]}", f"drops a partition of {table}", _LOST)
    for match in _COLUMN_RENAMED.finditer(change):
        one, other = (name_of(name) for name in (match[1] or match[3], match[2] or match[4]))
        if one != other and f"{table}.{one}" not in known.created:
            title = f"renames the column {table}.{one} to {other}"
            yield Act("data.rename", f"{table}.{one}", title, "what reads it by its old name breaks")
    renamed = re.match(rf"\s*RENAME\s+(?:TO|AS)\s+({_NAME})", change, re.IGNORECASE)
    if renamed and not re.search(rf"\bCREATE\b[^;]*\bTABLE\b[^;(]*\b{re.escape(table)}\b", around, re.IGNORECASE):
        title = f"renames the table {table} to {name_of(renamed[1])}"
        yield Act("data.rename", table, title, "what reads it by its old name breaks")
    for match in _DROP_COLUMN.finditer(change):
        column = name_of(match[1])
        if f"{table}.{column}" not in known.created:
            yield Act("data.drop_column", f"{table}.{column}", f"drops the column {table}.{column}", _LOST)
    yield from _retyped(table, change, known, around)


def _retyped(table: str, change: str, known: Known, around: str) -> Iterator[Act]:
    for match in _TYPED.finditer(change):
        column, kind = name_of(match[1] or match[2] or match[3] or match[4]), match[5]
        if f"{table}.{column}" not in known.created and narrows(known.types.get(column, ""), kind):
            before = known.types.get(column, "what it is")
            title = f"narrows the column {table}.{column} from {before} to {kind.lower()}"
            why = "values that do not fit are cut, or stop the migration"
            yield Act("data.narrow", f"{table}.{column}", title, why)
    for match in _REQUIRED.finditer(change):
        column = name_of(match[1])
        filled = re.search(rf"\bUPDATE\b[^;]*\b{re.escape(column)}\b", around, re.IGNORECASE)
        if not filled:
            title = f"requires a value in {table}.{column}"
            yield Act("data.not_null", f"{table}.{column}", title, "rows without one stop the migration")
    for match in _ADDED.finditer(change):
        column, rest = name_of(match[1]), match[2]
        free = re.search(r"\b(?:DEFAULT|GENERATED|SERIAL|BIGSERIAL|IDENTITY|AUTO_INCREMENT)\b", rest, re.IGNORECASE)
        if re.search(r"\bNOT\s+NULL\b", rest, re.IGNORECASE) and not free:
            title = f"adds {table}.{column}, which every row needs and no default fills"
            yield Act("data.not_null", f"{table}.{column}", title, "rows that are there stop the migration")


_RANK: Final = {
    "boolean": 0, "bool": 0, "tinyint": 1, "smallint": 2, "int2": 2, "smallserial": 2, "mediumint": 3, "int": 4,
    "integer": 4, "int4": 4, "serial": 4, "bigint": 5, "int8": 5, "bigserial": 5, "numeric": 6, "decimal": 6,
    "real": 6, "float": 6, "double": 7,
    "date": 1, "timestamp": 2, "datetime": 2, "timestamptz": 2,
    "char": 1, "varchar": 2, "character": 2, "nvarchar": 2, "tinytext": 3, "text": 9, "mediumtext": 10, "longtext": 11,
    "citext": 9, "string": 2,
}  # fmt: skip
_KINDS: Final = (
    frozenset(name for name in _RANK if name not in ("date", "timestamp", "datetime", "timestamptz") and "char" not in name
              and "text" not in name and name != "string"),
    frozenset(("date", "timestamp", "datetime", "timestamptz")),
    frozenset(name for name in _RANK if "char" in name or "text" in name or name == "string"),
)  # fmt: skip
_LOSSY: Final = frozenset(
    ("boolean", "bool", "tinyint", "smallint", "int2", "date", "char", "varchar", "nvarchar", "character")
)


def narrows(before: str, after: str) -> bool:
    """Whether values of the type ``before`` may not fit ``after``; an unknown one may not fit a small type."""
    old, new = _split(before), _split(after)
    if not old[0]:
        return new[0] in _LOSSY
    if old[0] == new[0]:
        return bool(old[1] and new[1]) and any(n < o for o, n in zip(old[1], new[1], strict=False))
    family = next((kind for kind in _KINDS if old[0] in kind), frozenset[str]())
    if new[0] in family:
        if {old[0], new[0]} & {"numeric", "decimal", "real", "float"} and new[0] in ("int", "integer", "bigint"):
            return True
        return _RANK[new[0]] < _RANK[old[0]]
    return new[0] not in ("text", "mediumtext", "longtext", "string", "json", "jsonb")


def _split(kind: str) -> tuple[str, tuple[int, ...]]:
    found = re.match(r"\s*(\w+)\s*(?:\(([\d\s,]*)\))?", kind.lower())
    if not found:
        return "", ()
    return found[1], tuple(int(number) for number in re.findall(r"\d+", found[2] or "")[:3])
