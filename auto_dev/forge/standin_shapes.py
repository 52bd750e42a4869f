"""The answers of the local GitHub stand-in in GitHub's full published shape: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_USER_URLS = (
    *("followers", "following", "gists", "starred", "subscriptions", "organizations", "repos"),
    *("events", "received_events"),
)
_REPOSITORY_URLS = (
    *("archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents"),
    *("contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks"),
    *("issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones"),
    *("notifications", "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags"),
    *("teams", "trees"),
)
_COUNTS = ("forks", "forks_count", "open_issues", "open_issues_count", "size", "stargazers_count", "watchers")
_ZEROES = (*_COUNTS, "watchers_count", "network_count", "subscribers_count")
_EPOCH = "2026-01-01T00:00:00Z"


def user(url: str, login: str) -> Json:
    """``simple-user``."""
    me = f"{url}/users/{login}"
    return {
        "login": login,
        "id": 1,
        "node_id": "U_1",
        "avatar_url": f"{url}/{login}.png",
        "gravatar_id": "",
        "url": me,
        "html_url": f"{url}/{login}",
        "type": "User",
        "site_admin": False,
        **{f"{name}_url": f"{me}/{name}" for name in _USER_URLS},
    }


def repository(url: str, full_name: str, default_branch: str = "main") -> Json:
    """``repository`` and ``full-repository``."""
    owner, name = full_name.split("/")
    api, page = f"{url}/repos/{full_name}", f"{url}/{full_name}"
    return {
        "id": 1,
        "node_id": "R_1",
        "name": name,
        "full_name": full_name,
        "owner": user(url, owner),
        "private": False,
        "html_url": page,
        "description": "A local stand-in",
        "fork": False,
        "url": api,
        **{f"{part}_url": f"{api}/{part}" for part in _REPOSITORY_URLS},
        **{f"{kind}_url": page for kind in ("git", "ssh", "clone", "svn", "mirror")},
        **dict.fromkeys(_ZEROES, 0),
        **{f"has_{part}": part == "issues" for part in ("issues", "projects", "wiki", "pages", "downloads")},
        "has_discussions": False,
        "homepage": None,
        "language": None,
        "license": None,
        "default_branch": default_branch,
        "archived": False,
        "disabled": False,
        "pushed_at": _EPOCH,
        "created_at": _EPOCH,
        "updated_at": _EPOCH,
    }


def branch(url: str, full_name: str, name: str, sha: str) -> Json:
    """``branch-with-protection``."""
    here, api = f"{url}/repos/{full_name}/branches/{name}", f"{url}/repos/{full_name}/commits/{sha}"
    tree = {"sha": sha, "url": api}
    who = {"name": "local", "email": "local@example.com", "date": _EPOCH}
    commit = {"url": api, "author": who, "committer": who, "message": "", "comment_count": 0, "tree": tree}
    return {
        "name": name,
        "commit": {
            "url": api,
            "sha": sha,
            "node_id": f"C_{sha}",
            "html_url": f"{url}/{full_name}/commit/{sha}",
            "comments_url": f"{api}/comments",
            "commit": commit,
            "author": user(url, full_name.split("/")[0]),
            "committer": user(url, full_name.split("/")[0]),
            "parents": [],
        },
        "_links": {"html": f"{url}/{full_name}/tree/{name}", "self": here},
        "protection": {"enabled": False},
        "protected": False,
        "protection_url": f"{here}/protection",
    }


def label(url: str, full_name: str, stored: Mapping[str, Any]) -> Json:
    """``label``."""
    return {
        "id": stored["id"],
        "node_id": f"LA_{stored['id']}",
        "url": f"{url}/repos/{full_name}/labels/{stored['id']}",
        "name": stored["name"],
        "description": stored["description"],
        "color": stored["color"],
        "default": False,
    }


def pull(url: str, full_name: str, stored: Mapping[str, Any], labels: list[Json], *, full: bool) -> Json:
    """``pull-request`` with ``full``, else ``pull-request-simple`` as lists have it."""
    owner = full_name.split("/")[0]
    api, number = f"{url}/repos/{full_name}", stored["number"]
    me = f"{api}/pulls/{number}"
    links = {
        "comments": f"{api}/issues/{number}/comments",
        "commits": f"{me}/commits",
        "review_comments": f"{me}/comments",
        "review_comment": f"{me}/comments{{/number}}",
        "statuses": f"{api}/statuses/{stored['head_sha']}",
        "issue": f"{api}/issues/{number}",
    }
    answer: Json = {
        "url": me,
        "id": number,
        "node_id": f"PR_{number}",
        "html_url": f"{url}/{full_name}/pull/{number}",
        "diff_url": f"{url}/{full_name}/pull/{number}.diff",
        "patch_url": f"{url}/{full_name}/pull/{number}.patch",
        **{f"{name}_url": link for name, link in links.items()},
        **{key: stored[key] for key in ("number", "state", "title", "body", "draft", "merged_at", "closed_at")},
        **{key: stored[key] for key in ("created_at", "updated_at")},
        "locked": False,
        "user": user(url, owner),
        "labels": labels,
        "milestone": None,
        "merge_commit_sha": None,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "head": _ref(url, full_name, stored["head"], stored["head_sha"]),
        "base": _ref(url, full_name, stored["base"], stored["base_sha"]),
        "_links": {
            **{name: {"href": link} for name, link in links.items()},
            "self": {"href": me},
            "html": {"href": f"{url}/{full_name}/pull/{number}"},
        },
        "author_association": "OWNER",
        "auto_merge": None,
    }
    if full:
        answer |= dict.fromkeys(
            ("additions", "changed_files", "comments", "commits", "deletions", "review_comments"), 0
        )
        merged, by = stored["merged_at"] is not None, stored.get("ended_by", "")
        state = "draft" if stored["draft"] else "unknown"
        answer |= {"mergeable": stored.get("mergeable"), "mergeable_state": state, "rebaseable": None}
        answer |= {"merged": merged, "merged_by": user(url, by) if merged and by else None}
        answer |= {"maintainer_can_modify": False, "merge_commit_sha": stored.get("merge_sha") or None}
    return answer


def _ref(url: str, full_name: str, name: str, sha: str) -> Json:
    owner = full_name.split("/")[0]
    return {
        "label": f"{owner}:{name}",
        "ref": name,
        "sha": sha,
        "user": user(url, owner),
        "repo": repository(url, full_name),
    }
