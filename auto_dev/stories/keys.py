"""The keys of a story, and the other names by which people call them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_NAMES: Final[dict[str, str]] = {
    "id": "id",
    "other_id": (
        "story_id storyid task_id taskid ticket_id ticket issue_id issue_key wo_id work_order_id work_item_id story key"
    ),
    "title": "title name story_title summary_title",
    "goal": "goal goals objective objectives purpose",
    "description": "description desc summary details",
    "context": "context",
    "acceptance_criteria": (
        "acceptance_criteria acceptance_criterion acceptancecriteria acceptance criteria criterion ac acs "
        "acceptance_tests acceptance_criteria_checklist"
    ),
    "success_criteria": "success_criteria exit_criteria",
    "definition_of_done": "definition_of_done dod done_when",
    "non_goals": "non_goals nongoals non_goal out_of_scope not_in_scope",
    "stop_conditions": "stop_conditions stop_condition stopconditions",
    "priority": "priority prio",
    "tags": "tags tag labels label keywords",
    "estimate_hours": "estimate_hours estimated_hours estimation_hours effort_hours hours",
    "estimate": "estimate estimated estimation time_estimate estimated_effort estimated_time",
    "size": "size effort t_shirt_size size_estimate",
    "status": "status state",
    "depends_on": "depends_on dependson depends depend_on dependencies dependency deps prerequisites prerequisite",
    "blocked_by": "blocked_by blockedby requires waits_for",
    "blocks": "blocks",
    "related": "related related_to relates_to related_stories see_also",
    "base_branch": "base_branch basebranch target_branch",
    "created_at": "created_at created created_date date_created creation_date createdat created_on",
    "updated_at": "updated_at updated updated_date date_updated updatedat last_updated updated_on modified",
    "era": "era",
}
_KNOWN: Final = {name: key for key, names in _NAMES.items() for name in names.split()}

SENTENCES: Final = frozenset(
    {"context", "acceptance_criteria", "success_criteria", "definition_of_done", "non_goals", "stop_conditions"}
)
TEXTS: Final = frozenset({"title", "goal", "description"})
DEPENDENCIES: Final = frozenset({"depends_on", "blocked_by", "blocks", "related"})
# Keys that only a story has: with one of them, and without an id, a file was meant as a story.
TELLING: Final = SENTENCES - {"context"} | {"depends_on", "blocked_by", "blocks", "estimate_hours", "base_branch"}

# ``type`` or ``doc_type`` of frontmatter: what is a story.
STORY_TYPES: Final = frozenset(
    [
        "story",
        "user_story",
        "task",
        "feature",
        "bug",
        "bugfix",
        "chore",
        "spike",
        "ticket",
        "issue",
        "enhancement",
        "work_order",
        "refactor",
        "fix",
        "subtask",
    ]
)
# … and what is none, unless it has keys that only a story has.
_OTHER_TYPES: Final = (
    "epic milestone initiative theme adr decision prd rfc doc docs document documentation reference guide roadmap "
    "plan index meta note notes report template elaboration proof qa qa_verify review code_review evidence "
    "checkpoint context analysis readme overview summary"
)
OTHER_TYPES: Final = frozenset(_OTHER_TYPES.split())


@lru_cache(maxsize=2048)
def snake(name: str) -> str:
    """``Depends On``, ``dependsOn``, ``depends-on`` → ``depends_on``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.casefold()).strip("_")


def known(name: str) -> str:
    """The key that ``name`` stands for; empty when it is none of ours."""
    return _KNOWN.get(snake(name), "")
