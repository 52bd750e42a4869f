"""Destructive steps of database migrations, in SQL and in the frameworks' own words. Pure.

Read is only the way forward: ``downgrade``, ``down``, ``Down`` and their like mirror what the way forward made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.code import deletions
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
_COLUMN: Final = re.compile(r"\badd_column\(\s*[\"']([\w.]+)[\"']\s*,\s*[\w.]*Column\(\s*[\"'](\w+)")
_TABLES: Final = re.compile(r"table|Schema::drop", re.IGNORECASE)
_EXECUTED: Final = re.compile(
    r"\b(?:execute|executeSql|Sql|raw|query|runSql|run_sql|statement|unprepared)\s*\(\s*(?:f|r|sa\.text\(|text\(|@)?\s*(\"\"\"|'''|[\"'`])(.*?)\1",
    re.DOTALL,
)
_RAILS_NULL: Final = re.compile(r"\bchange_column_null[\s(]+:?(\w+)\s*,\s*:?(\w+)\s*,\s*false\s*\)?\s*$", re.MULTILINE)
_RAILS_ADDED: Final = re.compile(r"\badd_column[\s(]+:?(\w+)\s*,\s*:?(\w+)([^\n]*null:\s*false[^\n]*)")
_RAILS_TYPE: Final = re.compile(r"\bchange_column[\s(]+:?(\w+)\s*,\s*:?(\w+)\s*,\s*:?(\w+)(?:[^\n]*limit:\s*(\d+))?")
_ALTERS: Final = re.compile(r"alterTable|schema\.table\(|addColumn|changeColumn")
_NEEDED: Final = re.compile(r"\.notNullable\(\)|allowNull\s*:\s*false|isNullable\s*:\s*false|\bnotNull\s*:\s*true")
_FILLED: Final = re.compile(r"defaultTo\(|defaultValue|default\s*:")
_LOST: Final = "what it holds is lost"


def is_migration(view: View) -> bool:
    """Whether the file changes a database when it is run."""
    return bool(_FOLDER.search(view.path) and view.ending != ".md") or bool(_MARKED.search(view.code[:20_000]))


def created_by(views: Sequence[View]) -> frozenset[str]:
    """The tables, and columns as ``table.column``, that the new lines of ``views`` create on their way forward.

    A table that is dropped before it is made was there before.
    """
    found: set[str] = set()
    texts = []
    for view in sorted(views, key=lambda one: one.path):
        rows = forward_part(view).split("\n")
        texts.append("\n".join(rows[number - 1] for number in sorted(view.fresh) if number <= len(rows)))
        if view.tree is not None:
            found |= set(_django_made(view.tree))
    found |= created_in(";\n".join(texts))
    for text in texts:
        dropped = {name_of(match[2] or ""): match.start() for match in reversed(list(_DROPPED.finditer(text)))}
        for match in _MADE.finditer(text):
            name = name_of(match[1])
            if dropped.get(name, len(text)) > match.start():
                found.add(name)
        found |= {
            f"{name_of(one[1])}.{name_of(one[2])}" for one in _ADDED.finditer(text) if one[2] and "." not in one[2]
        }
        found |= {f"{name_of(table)}.{name_of(column)}" for table, column in _COLUMN.findall(text)}
    return frozenset(found)


def _is_made(table: str, column: str, known: Known) -> bool:
    """Whether the change itself makes the column; without a table, in any."""
    if table:
        return table in known.created or f"{table}.{column}" in known.created
    return any(name == column or name.endswith(f".{column}") for name in known.created)


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
    for number in sorted(view.fresh):
        if number <= len(rows := forward.split("\n")):
            yield from deletions(view, number, rows[number - 1])
    yield from _words(view, forward, known)
    yield from _needed(view, forward)
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
        if not _is_made(table, column, known):
            subject = f"{table}.{column}" if table else column
            yield Act(
                "data.drop_column", subject, f"drops the column {subject}", _LOST, view.path, line, view.shown(line)
            )


def _needed(view: View, forward: str) -> Iterator[Act]:
    """Columns of Knex, Sequelize and TypeORM that an existing table gets and every row needs."""
    if view.ending not in (".js", ".ts", ".mjs", ".cjs") or not _ALTERS.search(forward):
        return
    for number, row in enumerate(forward.split("\n"), 1):
        around = " ".join(forward.split("\n")[max(number - 4, 0) : number + 3])
        if number in view.fresh and _NEEDED.search(row) and not _FILLED.search(around) and not _MADE.search(forward):
            title = "adds a column that every row needs and no default fills"
            yield Act(
                "data.not_null",
                row.strip()[:80],
                title,
                "rows that are there stop the migration",
                view.path,
                number,
                view.shown(number),
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
        elif name == "RemoveField" and not _is_made(model.lower(), field.lower(), known):
            yield Act("data.drop_column", f"{model}.{field}".lower(), f"removes the field {model}.{field}", _LOST)
    elif name in ("RenameField", "RenameModel", "rename_table"):
        subject = ".".join(one for one in (*texts, *map(_text, given.values())) if one).lower()
        yield Act("data.rename", subject, f"renames {subject}", "what reads it by its old name breaks")
    elif name == "AlterField" and (column := given.get("field") or (node.args[-1] if node.args else None)):
        yield from _field_required(model_of(given, texts), column, known, source)
    elif name == "RunSQL":
        for text in _texts(given.get("sql") or (node.args[0] if node.args else None)):
            yield from acts_of(text, known, text)
    elif name == "add_column" and len(node.args) > 1 and isinstance(node.args[-1], ast.Call):
        yield from _added(texts[0] if texts else "", node.args[-1], known)
    elif name == "alter_column":
        yield from _alembic_altered(texts, given, known, source)


def model_of(given: dict[str, ast.expr], texts: Sequence[str]) -> str:
    """``model.field`` of a Django operation."""
    model = _text(given.get("model_name")) or (texts[0] if texts else "")
    return f"{model}.{_text(given.get('name')) or (texts[1] if len(texts) > 1 else '')}".lower()


def _field_required(subject: str, column: ast.expr, known: Known, source: str) -> Iterator[Act]:
    given = {keyword.arg: keyword.value for keyword in column.keywords} if isinstance(column, ast.Call) else {}
    model, field = subject.split(".", 1)
    if _is(given.get("null"), value=False) and not _is_made(model, field, known) and "runpython" not in source:
        yield Act("data.not_null", subject, f"requires a value in {subject}", "rows without one stop the migration")


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
    if _is_made(table.lower(), column.lower(), known):
        return
    if "new_column_name" in given:
        title = f"renames the column {subject}"
        yield Act("data.rename", subject, title, "what reads it by its old name breaks")
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
            given = {keyword.arg: _text(keyword.value).lower() for keyword in node.keywords}
            texts = [_text(one).lower() for one in node.args]
            model = given.get("model_name") or (texts[0] if texts else "")
            if node.func.attr == "AddField":
                yield f"{model}.{given.get('name') or (texts[1] if len(texts) > 1 else '')}"
            elif name := given.get("name") or model:
                yield name


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _texts(node: ast.expr | None) -> list[str]:
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)] if node else []


def _is(node: ast.expr | None, *, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
