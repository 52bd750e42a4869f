"""Destructive steps of database migrations, in SQL and in the frameworks' own words. Pure.

Read is only the way forward: ``downgrade``, ``down``, ``Down`` and their like mirror what the way forward made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.sql import Known, acts_of, created_in, name_of, narrows, without_down
from auto_dev.gates.danger.view import View

_FOLDER: Final = re.compile(r"(?:^|/)(?:migrations?|migrate|versions|changelogs?|alembic)/", re.IGNORECASE)
_MARKED: Final = re.compile(
    r"\bop\.(?:drop|add|alter|create|execute)_?\w*\(|migrations\.Migration\b|ActiveRecord::Migration|exports\.(?:up|down)\b|"
    r"\bqueryInterface\b|\bqueryRunner\b|MigrationBuilder\b|Schema::(?:table|drop|create)|use Ecto\.Migration|"
    r"\bpgm\.|\bexport (?:async )?function up\b"
)
_WAY_BACK: Final = re.compile(
    r"\.down\.sql$|(?:^|/)u\d[\w.]*__[^/]*\.sql$|(?:^|/)(?:down|rollback|undo)/|[._-]rollback\.sql$", re.IGNORECASE
)
_DOWN: Final = re.compile(
    r"(?m)^(?P<indent>[ \t]*)(?:(?:async\s+)?def\s+(?:downgrade|reverse\w*|backwards?|down|revert\w*)\b|"
    r"(?:module\.)?exports\.down\b|export\s+(?:const|async\s+function|function)\s+down\b|"
    r"(?:public\s+|protected\s+|override\s+|async\s+|static\s+)*(?:function\s+)?(?:void\s+)?[dD]own\s*(?:\(|[:=]\s*(?:async\b|function\b|\()))"
)
# Words of all frameworks. A name may follow as a string, a symbol or the key of a list.
_NAMED: Final = (
    r"""\s*[(\[ ]?\s*(?:\w+\s*[:=]\s*)?[:'"`]?([\w.]+)['"`]?(?:\s*,\s*(?:\w+\s*[:=]\s*)?[\[:'"`]*([\w.]+))?"""
)
_DROPPED: Final = re.compile(
    r"\b(?P<word>drop_table|drop_join_table|dropTableIfExists|dropTable|DropTable|dropAllTables|delete_table|"
    r"Schema::drop(?:IfExists)?|drop_column|remove_columns?|remove_reference|remove_belongs_to|dropColumns?|DropColumn|"
    r"removeColumn|drop\s+table|remove)\b(?=\s*[(: \[])" + _NAMED
)
_MADE: Final = re.compile(r"\b(?:create_table|createTable|CreateTable|Schema::create|create\s+table)\b" + _NAMED)
_ADDED: Final = re.compile(r"\b(?:add_column|addColumn|AddColumn|add_reference)\b" + _NAMED)
_COLUMN: Final = re.compile(r"\badd_column\([^\n]{0,100}?Column\(\s*[\"'](\w+)")
_TABLES: Final = re.compile(r"table|Schema::drop", re.IGNORECASE)
_EXECUTED: Final = re.compile(
    r"\b(?:execute|executeSql|Sql|raw|query|runSql|run_sql|statement|unprepared)\s*\(\s*(?:f|r|sa\.text\(|text\(|@)?\s*(\"\"\"|'''|[\"'`])(.*?)\1",
    re.DOTALL,
)
_RAILS_NULL: Final = re.compile(r"\bchange_column_null[\s(]+:?(\w+)\s*,\s*:?(\w+)\s*,\s*false\s*\)?\s*$", re.MULTILINE)
_RAILS_ADDED: Final = re.compile(r"\badd_column[\s(]+:?(\w+)\s*,\s*:?(\w+)([^\n]*null:\s*false[^\n]*)")
_RAILS_TYPE: Final = re.compile(r"\bchange_column[\s(]+:?(\w+)\s*,\s*:?(\w+)\s*,\s*:?(\w+)(?:[^\n]*limit:\s*(\d+))?")
_LOST: Final = "what it holds is lost"


def is_migration(view: View) -> bool:
    """Whether the file changes a database when it is run."""
    return bool(_FOLDER.search(view.path) and view.ending != ".md") or bool(_MARKED.search(view.code[:20_000]))


def created_by(views: Sequence[View]) -> frozenset[str]:
    """The tables and columns that the new lines of ``views`` create on their way forward, by name."""
    found: set[str] = set()
    for view in views:
        rows = forward_part(view).split("\n")
        text = "\n".join(rows[number - 1] for number in sorted(view.fresh) if number <= len(rows))
        found |= created_in(text)
        found |= {name_of(match[1]) for match in _MADE.finditer(text)}
        found |= {name_of(match[2]) for match in _ADDED.finditer(text) if match[2] and "." not in match[2]}
        found |= {name_of(column) for column in _COLUMN.findall(text)}
        if view.tree is not None:
            found |= set(_django_made(view.tree))
    return frozenset(found)


def forward_part(view: View) -> str:
    """The file's code with the way back blanked; every line stays where it is."""
    if _WAY_BACK.search(view.path):
        return re.sub(r"[^\n]", " ", view.code)
    if view.ending == ".sql":
        return without_down(view.after or "")
    rows = view.code.split("\n")
    for match in _DOWN.finditer(view.code):
        first = view.code.count("\n", 0, match.start())
        indent = len(match["indent"])
        for number in range(first, len(rows)):
            text = rows[number]
            closes = text.strip() in ("}", "};", "end", "},", "}, ", ")", ");")
            if number > first and text.strip() and len(text) - len(text.lstrip()) <= indent:
                if closes:
                    rows[number] = ""
                break
            rows[number] = ""
    return "\n".join(rows)


def migration_acts(view: View, known: Known) -> Iterator[Act]:
    """What a migration does that a person must decide about, in its new lines."""
    forward = forward_part(view)
    if view.ending == ".sql":
        for act in acts_of(forward, known, forward):
            first, last = (int(number) for number in act.excerpt.split("-"))
            if view.is_new(first, last):
                yield _placed(act, view, first)
        return
    yield from _words(view, forward, known)
    yield from _raw_sql(view, forward, known)
    if view.tree is not None:
        yield from _python(view, view.tree, known)
    if view.ending == ".rb":
        yield from _rails(view, forward, known)


def _placed(act: Act, view: View, line: int) -> Act:
    return Act(act.rule, act.subject, act.title, act.why, view.path, line, view.shown(line), act.tier)


def _words(view: View, forward: str, known: Known) -> Iterator[Act]:
    for match in _DROPPED.finditer(forward):
        line = forward.count("\n", 0, match.start()) + 1
        word, one, two = match["word"], name_of(match[2] or ""), name_of(match[3] or "")
        if line not in view.fresh or (word == "remove" and view.ending not in (".ex", ".exs")):
            continue
        if _TABLES.search(word):
            if one and one not in known.created:
                yield Act("data.drop_table", one, f"drops the table {one}", _LOST, view.path, line, view.shown(line))
            continue
        table, column = (one, two) if two else ("", one)
        if column not in known.created and table not in known.created:
            subject = f"{table}.{column}" if table else column
            yield Act(
                "data.drop_column", subject, f"drops the column {subject}", _LOST, view.path, line, view.shown(line)
            )


def _raw_sql(view: View, forward: str, known: Known) -> Iterator[Act]:
    for match in _EXECUTED.finditer(forward):
        first = forward.count("\n", 0, match.start()) + 1
        if view.is_new(first, forward.count("\n", 0, match.end()) + 1):
            for act in acts_of(match[2], known, forward):
                yield _placed(act, view, first + act.line - 1)


def _rails(view: View, forward: str, known: Known) -> Iterator[Act]:
    for match in _RAILS_NULL.finditer(forward):
        yield from _required(view, forward, match, known)
    for match in _RAILS_ADDED.finditer(forward):
        if "default:" not in match[3]:
            yield from _required(view, forward, match, known)
    for match in _RAILS_TYPE.finditer(forward):
        line = forward.count("\n", 0, match.start()) + 1
        table, column, kind = match[1].lower(), match[2].lower(), match[3].lower()
        kind = f"varchar({match[4]})" if match[4] else kind
        if line in view.fresh and table not in known.created and narrows(known.types.get(column, ""), kind):
            title = f"narrows the column {table}.{column} to {kind}"
            why = "values that do not fit are cut, or stop the migration"
            yield Act("data.narrow", f"{table}.{column}", title, why, view.path, line, view.shown(line))


def _required(view: View, forward: str, match: re.Match[str], known: Known) -> Iterator[Act]:
    line = forward.count("\n", 0, match.start()) + 1
    table, column = match[1].lower(), match[2].lower()
    filled = re.search(rf"update_all[^\n]*\b{re.escape(column)}\b|UPDATE\b[^\n]*\b{re.escape(column)}\b", forward)
    if line in view.fresh and table not in known.created and not filled:
        title = f"requires a value in {table}.{column}"
        why = "rows without one stop the migration"
        yield Act("data.not_null", f"{table}.{column}", title, why, view.path, line, view.shown(line))


def _python(view: View, tree: ast.Module, known: Known) -> Iterator[Act]:
    """Alembic and Django, by the syntax tree."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and re.match(r"downgrade|reverse|backwards?|revert", node.name)
        for inner in ast.walk(node)
    }
    skipped |= {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in ("state_operations", "reverse_sql", "reverse_code")
        for inner in ast.walk(node.value)
    }
    backfill = (view.after or "").lower()
    for node in ast.walk(tree):
        if (
            not isinstance(node, ast.Call)
            or id(node) in skipped
            or not view.is_new(node.lineno, node.end_lineno or node.lineno)
        ):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for act in _call(name, node, known, backfill):
            yield _placed(act, view, node.lineno)


def _call(name: str, node: ast.Call, known: Known, source: str) -> Iterator[Act]:
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if name in ("RemoveField", "DeleteModel"):
        model = _text(given.get("model_name")) or (texts[0] if texts else "")
        field = _text(given.get("name")) or (texts[1] if len(texts) > 1 else "")
        model = field if name == "DeleteModel" and field else model
        if name == "DeleteModel" and model.lower() not in known.created:
            yield Act("data.drop_table", model.lower(), f"deletes the model {model} and its table", _LOST)
        elif name == "RemoveField" and field.lower() not in known.created and model.lower() not in known.created:
            yield Act("data.drop_column", f"{model}.{field}".lower(), f"removes the field {model}.{field}", _LOST)
    elif name == "RunSQL":
        for text in _texts(given.get("sql") or (node.args[0] if node.args else None)):
            yield from acts_of(text, known, text)
    elif name == "add_column" and len(node.args) > 1 and isinstance(node.args[-1], ast.Call):
        yield from _added(texts[0] if texts else "", node.args[-1], known)
    elif name == "alter_column":
        yield from _alembic_altered(texts, given, known, source)


def _added(table: str, column: ast.Call, known: Known) -> Iterator[Act]:
    given = {keyword.arg: keyword.value for keyword in column.keywords}
    named = _text(column.args[0]) if column.args else ""
    if _is(given.get("nullable"), value=False) and "server_default" not in given and table.lower() not in known.created:
        subject = f"{table}.{named}".lower().lstrip(".")
        title = f"adds {subject}, which every row needs and no default fills"
        yield Act("data.not_null", subject, title, "rows that are there stop the migration")


def _alembic_altered(texts: Sequence[str], given: dict[str, ast.expr], known: Known, source: str) -> Iterator[Act]:
    table, column = (texts[0], texts[1]) if len(texts) > 1 else ("", texts[0] if texts else "")
    subject = f"{table}.{column}".lower().lstrip(".")
    if table.lower() in known.created or column.lower() in known.created:
        return
    if "type_" in given:
        before = _type(given.get("existing_type")) or known.types.get(column.lower(), "")
        after = _type(given["type_"])
        if narrows(before, after):
            title = f"narrows the column {subject} from {before or 'what it is'} to {after}"
            yield Act("data.narrow", subject, title, "values that do not fit are cut, or stop the migration")
    filled = re.search(rf"\bupdate\b[^;]{{0,400}}\b{re.escape(column.lower())}\b", source)
    if _is(given.get("nullable"), value=False) and "server_default" not in given and not filled:
        yield Act("data.not_null", subject, f"requires a value in {subject}", "rows without one stop the migration")


def _type(node: ast.expr | None) -> str:
    """``sa.String(length=50)`` as ``string(50)``."""
    if node is None:
        return ""
    call = node if isinstance(node, ast.Call) else None
    target = call.func if call else node
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    numbers = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant) and type(n.value) is int] if call else []
    name = {"BigInteger": "bigint", "SmallInteger": "smallint", "DateTime": "timestamp"}.get(name, name).lower()
    return f"{name}({','.join(map(str, numbers))})" if numbers else name


def _django_made(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("CreateModel", "AddField")
        ):
            for keyword in node.keywords:
                if keyword.arg == "name" and (name := _text(keyword.value)):
                    yield name.lower()


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _texts(node: ast.expr | None) -> list[str]:
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)] if node else []


def _is(node: ast.expr | None, *, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
