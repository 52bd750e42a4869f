"""YAML files: one story, a list of stories, or epics → milestones → stories → tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

from auto_dev.stories import build, ids, keys, lenient, status, yamltree
from auto_dev.stories.found import Found, Origin, Reading
from auto_dev.stories.frontmatter import Field
from auto_dev.stories.problems import error, warning
from auto_dev.stories.yamltree import Map, Node, Scalar, Seq, flat, is_null, merged

_LEVELS: Final = frozenset(
    [
        "epics",
        "epic",
        "milestones",
        "milestone",
        "phases",
        "features",
        "stories",
        "story",
        "user_stories",
        "tasks",
        "task",
        "subtasks",
        "items",
        "backlog",
        "tickets",
        "issues",
        "work_orders",
        "work_items",
        "sprints",
        "waves",
        "groups",
        "children",
    ]
)
_MEANT: Final = ("epics:", "milestones:", "stories:", "tasks:", "acceptance_criteria:", "user_stories:")
# What a task takes from the story, milestone and epic above it when it does not say so itself.
_INHERITED: Final = ("status", "priority", "base_branch", "era", "created_at", "acceptance_criteria")
_COLLECTED: Final = ("depends_on", "blocked_by", "tags", "context", "non_goals", "stop_conditions")
_TOLD: Final = (*_INHERITED, *_COLLECTED, "id", "other_id", "title", "goal", "description")
_STORY_KEYS: Final = frozenset(
    {"status", "acceptance_criteria", "goal", "description", "depends_on", "blocked_by", "priority", "estimate_hours"}
)


@dataclass(frozen=True, slots=True)
class _Above:
    """What holds for everything below a container."""

    inherited: tuple[Field, ...] = ()
    collected: tuple[Field, ...] = ()
    context: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()  # ("epic", "E-1 Title")
    ids: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    path: str
    reading: Reading
    lane: str
    leaves: dict[str, list[str]] = field(default_factory=dict)


def read(path: str, text: str) -> Reading:
    """The stories in a YAML file. A file that holds none is a document; a broken one that was meant is an error."""
    reading = Reading(path)
    repaired = lenient.quoted(text)
    try:
        documents = yamltree.parse(repaired)
    except yamltree.TreeError as fault:
        meant = any(line.strip().startswith(_MEANT) for line in text.split("\n"))
        mend = "Close every quote and bracket, indent with spaces, and put odd text in quotes."
        reading.kind = "unreadable"
        if meant and not ids.is_companion_name(path):
            owner = ids.folder_id(path) or ids.leading(PurePosixPath(path).stem)
            held = (owner,) if owner else ()
            reading.problems.append(error(path, f"not YAML: {fault.what}", mend, line=fault.line, story_ids=held))
        return reading
    if repaired != text:
        try:
            yamltree.parse(text)
        except yamltree.TreeError as fault:
            message = f"not quite YAML ({fault.what}); it is taken as it was written"
            reading.problems.append(warning(path, message, "Put the text in quotes.", line=fault.line))
    walk = _Walk(path, reading, status.lane(path))
    for document in documents:
        _document(walk, document)
    reading.containers = {name: tuple(dict.fromkeys(leaves)) for name, leaves in walk.leaves.items()}
    if len(reading.found) == 1 and reading.found[0].origin in (Origin.FILE, Origin.SIDE):
        reading.kind = "story"
    elif reading.found:
        reading.kind = "index"
    elif ids.folder_id(path):
        reading.kind = "companion"
    return reading


def _document(walk: _Walk, node: Node) -> None:
    if isinstance(node, Seq):
        for item in node.items:
            if isinstance(item, Map) and _is_story(_fields(item)):
                _visit(walk, item, _Above(), "task", 1)
        return
    if not isinstance(node, Map):
        return
    fields = _fields(node)
    if any(True for _ in _children(node)):
        _visit(walk, node, _Above(), "", 1)
    elif _is_story(fields):
        _leaf(walk, fields, _Above(), 1, node.line, single=True)


def _fields(node: Map) -> list[Field]:
    return [Field(name, value, line) for name, value, line in merged(node)]


def _is_story(fields: Sequence[Field]) -> bool:
    told = {item.key for item in fields if not is_null(item.node)}
    return bool(build.id_of(fields) and "title" in told and told & _STORY_KEYS)


def _children(node: Map) -> Iterator[tuple[str, Map]]:
    """The maps below ``epics:``, ``tasks:`` and the like; also ``tasks: {T-1: {title: …}}``."""
    for name, value, _ in merged(node):
        level = keys.snake(name)
        if level not in _LEVELS:
            continue
        if isinstance(value, Seq):
            for item in value.items:
                if isinstance(item, Map):
                    yield level, item
        elif isinstance(value, Map):
            named = [(key, inner) for key, inner, _ in merged(value) if isinstance(inner, Map)]
            if level.endswith("s") and named and len(named) == len(value.pairs):
                for key, inner in named:
                    own = () if build.id_of(_fields(inner)) else ((Scalar("id", inner.line), Scalar(key, inner.line)),)
                    yield level, replace(inner, pairs=(*own, *inner.pairs))
            else:
                yield level, value


def _visit(walk: _Walk, node: Map, above: _Above, level: str, position: int) -> None:
    """A container hands on what holds below it; what has no children with ids is a story."""
    fields = _fields(node)
    children = list(_children(node))
    if not any(_is_unit(child) for _, child in children):
        if level or _is_story(fields):
            _leaf(walk, fields, above, position, node.line)
        return
    _leftover(walk, node)
    below = _below(fields, above, level)
    for number, (name, child) in enumerate(children, 1):
        _visit(walk, child, below, name, number)


def _leftover(walk: _Walk, node: Map) -> None:
    """Bare texts among tasks with ids cannot be stories: nothing names them."""
    for name, value, line in merged(node):
        texts = [item for item in value.items if isinstance(item, Scalar)] if isinstance(value, Seq) else []
        for item in texts if keys.snake(name) in _LEVELS else ():
            message = f"{flat(item)!r} among the {name} is only a text and is left out"
            walk.reading.problems.append(
                warning(walk.path, message, "Give it an id and a title.", line=item.line or line)
            )


def _is_unit(node: Map) -> bool:
    """Whether a child is a unit of its own rather than a step in the text of its parent."""
    fields = _fields(node)
    told = {item.key for item in fields}
    return (
        bool(build.id_of(fields)) or any(True for _ in _children(node)) or bool("title" in told and told & _STORY_KEYS)
    )


def _below(fields: list[Field], above: _Above, level: str) -> _Above:
    own = {item.key for item in fields if not is_null(item.node)}
    story_id = build.id_of(fields)
    title = next((flat(item.node) for item in fields if item.key == "title"), "")
    told = [flat(item.node) for item in fields if item.key in ("goal", "description") and not is_null(item.node)]
    kind = level.removesuffix("s").replace("storie", "story") or "project"
    label = " ".join(filter(None, (story_id, title)))
    context = [f"{kind.capitalize()} {label}: {' '.join(told)}"] if told and label else []
    shared = [text for item in fields if item.key == "acceptance_criteria" for text in build.sentences(item.node)]
    if shared:
        context.append(f"Acceptance criteria of {kind} {label}: {'; '.join(shared)}")
    names = [(kind, label)] if label else []
    names += [
        (f"{kind}.{item.name}", flat(item.node))
        for item in fields
        if item.key not in _TOLD and keys.snake(item.name) not in _LEVELS and not is_null(item.node)
    ]
    return _Above(
        inherited=(
            *(item for item in fields if item.key in _INHERITED and not is_null(item.node)),
            *(item for item in above.inherited if item.key not in own),
        ),
        collected=(*above.collected, *(item for item in fields if item.key in _COLLECTED)),
        context=(*above.context, *context),
        names=(*above.names, *names),
        ids=(*above.ids, *((story_id,) if story_id else ())),
    )


def _leaf(walk: _Walk, own: list[Field], above: _Above, position: int, line: int, *, single: bool = False) -> None:
    story_id = build.id_of(own)
    problems = []
    if not story_id and above.ids:
        story_id = f"{above.ids[-1]}-{position}"
        message = f"a task below {above.ids[-1]} has no id; {story_id} is used, which changes when the order does"
        problems.append(warning(walk.path, message, f"Add `id: {story_id}`.", line=line))
    if not story_id:
        title = next((flat(item.node) for item in own if item.key == "title"), "")
        story_id = ids.suggest(title)[:40] or f"task-{position}"
        message = f"the task {title!r} has no id"
        problems.append(error(walk.path, message, "Add `id: …`.", line=line, story_ids=(story_id,)))
    fields = [item for item in own if keys.snake(item.name) not in _LEVELS or keys.known(item.name) == "other_id"]
    steps = [item for item in own if item not in fields]
    fields += [item for item in above.collected if not any(item is other for other in own)]
    fields = _collect(fields, above)
    text = "\n".join(_steps(steps))
    source = build.Source(
        path=walk.path,
        line=line,
        fields=fields,
        fallback=above.inherited,
        body=text,
        story_id=story_id,
        lane=walk.lane,
        problems=problems,
    )
    built = build.build(source)
    story = built.story
    update: dict[str, object] = {"extra": {**story.extra, **dict(above.names)}} if above.names else {}
    if above.context:
        update["context"] = (*story.context, *above.context)
    owner = ids.folder_id(walk.path)
    beside = single and owner.lower() == story.id.lower()
    origin = Origin.SIDE if beside else Origin.FILE if single else Origin.SECTION
    found = Found(story.model_copy(update=update), origin, built.stated, line, walk.path)
    walk.reading.found.append(found)
    walk.reading.problems += built.problems
    for name in above.ids:
        walk.leaves.setdefault(name, []).append(story.id)


def _collect(own: list[Field], above: _Above) -> list[Field]:
    """Fields of the same name from several levels become one, so that they do not count as stated twice."""
    inherited = {id(item) for item in above.collected}
    result: list[Field] = []
    for item in own:
        first = next((i for i, other in enumerate(result) if keys.snake(other.name) == keys.snake(item.name)), -1)
        if id(item) in inherited and first >= 0:
            both = Seq((result[first].node, item.node), result[first].line)
            result[first] = Field(result[first].name, both, result[first].line)
        else:
            result.append(item)
    return result


def _steps(fields: Sequence[Field]) -> list[str]:
    """Tasks without ids are steps of their story: they go into its body."""
    lines: list[str] = []
    for item in fields:
        if is_null(item.node):
            continue
        lines.append(f"## {item.name}")
        steps = item.node.items if isinstance(item.node, Seq) else (item.node,)
        lines += [f"- {flat(step)}" for step in steps]
    return lines
