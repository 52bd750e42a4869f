"""In which order stories are taken, and why a story is or is not ready. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from auto_dev.model import FileStatus
from auto_dev.stories import values
from auto_dev.stories.model import Problem, Story


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a story can start, and why, in sentences.

    ``needs_criterion``: a criterion is all that is missing, so a decision may ask for one.
    """

    ready: bool
    reasons: tuple[str, ...]
    needs_criterion: bool = False


@dataclass(frozen=True, slots=True)
class Cycle:
    """``path``: one way round; ``all``: every story that is caught in it."""

    path: tuple[str, ...]
    all: frozenset[str]


def dispatch_key(story: Story) -> tuple[int, float, int]:
    """Priority first, then age (``created_at``, none comes last), then the place in the folder."""
    return story.priority, values.moment(story.created_at), story.position


def topological(stories: Iterable[Story]) -> list[str]:
    """All ids, each after what it depends on, else by ``dispatch_key``; the members of cycles come last."""
    by_id: dict[str, Story] = {}
    for story in stories:
        by_id.setdefault(story.id, story)
    waiting = {name: {need for need in story.depends_on if need in by_id} for name, story in by_id.items()}
    followers: dict[str, list[str]] = {}
    for name, needs in waiting.items():
        for need in needs:
            followers.setdefault(need, []).append(name)
    free = [(dispatch_key(by_id[name]), name) for name, needs in waiting.items() if not needs]
    heapq.heapify(free)
    ordered: list[str] = []
    while free:
        _, name = heapq.heappop(free)
        ordered.append(name)
        for follower in followers.get(name, ()):
            waiting[follower].discard(name)
            if not waiting[follower]:
                heapq.heappush(free, (dispatch_key(by_id[follower]), follower))
    done = set(ordered)
    rest = sorted((name for name in by_id if name not in done), key=lambda name: dispatch_key(by_id[name]))
    return ordered + rest


def readiness(story: Story, held: Mapping[str, Problem] | Container[str], satisfied: set[str]) -> Readiness:
    """Whether ``story`` can start. ``held``: ids with an error (``Backlog.held_back()``); ``satisfied``: ids whose
    dependents may start."""
    reasons: list[str] = []
    if story.id in held:
        problem = held.get(story.id) if isinstance(held, Mapping) else None
        reasons.append(_held(story, problem))
    if story.status is not FileStatus.READY:
        said = f" ({story.declared_status!r})" if story.declared_status else ""
        means = {
            FileStatus.BACKLOG: "it is in the backlog, not yet handed over",
            FileStatus.PARKED: "it is parked",
            FileStatus.DONE: "it is done",
        }[story.status]
        reasons.append(f"{story.id} is not ready: {means}{said}.")
    missing = [name for name in story.depends_on if name not in satisfied]
    if missing:
        listed = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
        reasons.append(f"{story.id} is blocked: it waits for {listed}.")
    if not (story.goal.strip() or story.body.strip()):
        reasons.append(f"{story.id} has neither a goal nor a body: nobody could know what to do.")
    lacking = not story.acceptance_criteria
    if lacking:
        reasons.append(f"{story.id} has no acceptance criterion: auto-dev asks for one before it starts.")
    if reasons:
        return Readiness(False, tuple(reasons), needs_criterion=lacking and len(reasons) == 1)
    return Readiness(True, (_ready(story),))


def _held(story: Story, problem: Problem | None) -> str:
    if problem is None:
        return f"{story.id} is held back by an error in its file."
    where = f"{problem.path}:{problem.line}" if problem.line else problem.path
    return f"{story.id} is held back by an error: {where}: {problem.message}. {problem.mend}".strip()


def _ready(story: Story) -> str:
    count = len(story.acceptance_criteria)
    criteria = "one acceptance criterion" if count == 1 else f"{count} acceptance criteria"
    needs = f"; what it depends on ({', '.join(story.depends_on)}) is satisfied" if story.depends_on else ""
    return f"{story.id} is ready: it has priority {story.priority} and {criteria}{needs}."


def cycles(edges: Mapping[str, Sequence[str]]) -> list[Cycle]:
    """The cycles in a graph of dependencies, one for each strongly connected part, in the order of ``edges``."""
    position = {name: number for number, name in enumerate(edges)}
    found = []
    for part in _components(edges):
        start = min(part, key=position.__getitem__)
        if len(part) > 1 or start in edges[start]:
            found.append(Cycle(_way_round(edges, start, part), frozenset(part)))
    return sorted(found, key=lambda cycle: position[cycle.path[0]])


def _way_round(edges: Mapping[str, Sequence[str]], start: str, part: set[str]) -> tuple[str, ...]:
    """The shortest way from ``start`` back to itself inside its part."""
    came: dict[str, str] = {}
    layer = [start]
    while layer:
        following = []
        for name in layer:
            for need in edges[name]:
                if need == start:
                    way = [name]
                    while way[-1] != start:
                        way.append(came[way[-1]])
                    return tuple(reversed(way))
                if need in part and need not in came:
                    came[need] = name
                    following.append(need)
        layer = following
    return (start,)


def _components(edges: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """Tarjan's strongly connected components, without recursion: a chain may be thousands long."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[set[str]] = []
    for root in edges:
        if root in number:
            continue
        work = [(root, iter(edges[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, needs = work[-1]
            for need in needs:
                if need not in number:
                    number[need] = low[need] = len(number)
                    stack.append(need)
                    on_stack.add(need)
                    work.append((need, iter(edges[need])))
                    break
                if need in on_stack:
                    low[name] = min(low[name], number[need])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    found.append(_popped(stack, on_stack, name))
    return found


def _popped(stack: list[str], on_stack: set[str], until: str) -> set[str]:
    part: set[str] = set()
    while until not in part:
        name = stack.pop()
        on_stack.discard(name)
        part.add(name)
    return part
