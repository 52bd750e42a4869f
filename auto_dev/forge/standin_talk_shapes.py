"""The stand-in's answers about comments, reviews and checks in GitHub's full published shape: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auto_dev.forge.standin_shapes import Json, repository, user


def _said(url: str, full_name: str, stored: Mapping[str, Any], kind: str, api: str) -> Json:
    number, page = stored["pull"], f"{url}/{full_name}/pull/{stored['pull']}"
    return {
        "id": stored["id"],
        "node_id": f"{kind}_{stored['id']}",
        "url": f"{url}/repos/{full_name}/{api}/{stored['id']}",
        "html_url": f"{page}#{kind}-{stored['id']}",
        "user": account(url, stored["author"]),
        "body": stored["body"],
        "author_association": stored["association"],
        "created_at": stored["at"],
        "updated_at": stored["at"],
        "issue_url": f"{url}/repos/{full_name}/issues/{number}",
    }


def account(url: str, login: str) -> Json:
    """``simple-user``; a login that ends in [bot] is an App's."""
    return user(url, login) | ({"type": "Bot"} if login.endswith("[bot]") else {})


def comment(url: str, full_name: str, stored: Mapping[str, Any]) -> Json:
    """``issue-comment``."""
    return _said(url, full_name, stored, "issuecomment", "issues/comments")


def line_comment(url: str, full_name: str, stored: Mapping[str, Any]) -> Json:
    """``pull-request-review-comment``."""
    answer = _said(url, full_name, stored, "discussion_r", "pulls/comments")
    answer.pop("issue_url")
    pull = f"{url}/repos/{full_name}/pulls/{stored['pull']}"
    return answer | {
        "pull_request_review_id": None,
        "pull_request_url": pull,
        "diff_hunk": "@@ -1 +1 @@",
        "path": stored["path"],
        "line": stored["line"],
        "original_line": stored["line"],
        "commit_id": stored["sha"],
        "original_commit_id": stored["sha"],
        "_links": {
            "self": {"href": answer["url"]},
            "html": {"href": answer["html_url"]},
            "pull_request": {"href": pull},
        },
    }


def review(url: str, full_name: str, stored: Mapping[str, Any]) -> Json:
    """``pull-request-review``."""
    answer = _said(url, full_name, stored, "pullrequestreview", "pulls/reviews")
    pull = f"{url}/repos/{full_name}/pulls/{stored['pull']}"
    for key in ("issue_url", "url", "created_at", "updated_at"):
        answer.pop(key)
    return answer | {
        "state": stored["state"],
        "submitted_at": stored["at"],
        "commit_id": stored["sha"],
        "pull_request_url": pull,
        "_links": {"html": {"href": answer["html_url"]}, "pull_request": {"href": pull}},
    }


def issue(url: str, full_name: str, pull: Mapping[str, Any], closer: str) -> Json:
    """``issue``, of a pull request."""
    api = f"{url}/repos/{full_name}"
    here = f"{api}/issues/{pull['number']}"
    same = ("id", "node_id", "html_url", "number", "state", "title", "user", "labels", "locked", "closed_at")
    return {key: pull[key] for key in (*same, "created_at", "updated_at", "body", "assignee", "milestone")} | {
        "url": here,
        "repository_url": api,
        "labels_url": f"{here}/labels{{/name}}",
        "comments_url": f"{here}/comments",
        "events_url": f"{here}/events",
        "comments": 0,
        "author_association": "OWNER",
        "closed_by": account(url, closer) if closer else None,
        "pull_request": {key: pull[key] for key in ("url", "html_url", "diff_url", "patch_url", "merged_at")},
    }


def check_run(url: str, full_name: str, stored: Mapping[str, Any]) -> Json:
    """``check-run``."""
    here, over = f"{url}/repos/{full_name}/check-runs/{stored['id']}", bool(stored["conclusion"])
    return {
        "id": stored["id"],
        "node_id": f"CR_{stored['id']}",
        "head_sha": stored["sha"],
        "external_id": "",
        "url": here,
        "html_url": f"{url}/{full_name}/runs/{stored['id']}",
        "details_url": f"{url}/{full_name}/runs/{stored['id']}",
        "status": "completed" if over else "in_progress",
        "conclusion": stored["conclusion"] or None,
        "started_at": stored["at"],
        "completed_at": stored["at"] if over else None,
        "output": {
            "title": stored["name"] if over else None,
            "summary": stored["summary"] or None,
            "text": None,
            "annotations_count": len(stored["annotations"]),
            "annotations_url": f"{here}/annotations",
        },
        "name": stored["name"],
        "check_suite": {"id": 1},
        "app": None,
        "pull_requests": [],
    }


def annotation(stored: Mapping[str, Any]) -> Json:
    """``check-annotation``."""
    return {
        "path": stored["path"],
        "start_line": stored["line"],
        "end_line": stored["line"],
        "start_column": None,
        "end_column": None,
        "annotation_level": stored.get("level", "failure"),
        "title": stored.get("title"),
        "message": stored["message"],
        "raw_details": None,
        "blob_href": "",
    }


def combined_status(url: str, full_name: str, sha: str, stored: Sequence[Mapping[str, Any]]) -> Json:
    """``combined-commit-status``."""
    here = f"{url}/repos/{full_name}/commits/{sha}"
    statuses = [
        {
            "id": each["id"],
            "node_id": f"SC_{each['id']}",
            "url": f"{url}/repos/{full_name}/statuses/{sha}",
            "avatar_url": None,
            "state": each["conclusion"] or "pending",
            "description": each["summary"] or None,
            "target_url": f"{url}/{full_name}/runs/{each['id']}",
            "context": each["name"],
            "created_at": each["at"],
            "updated_at": each["at"],
        }
        for each in stored
    ]
    states = {each["state"] for each in statuses}
    overall = "failure" if states & {"failure", "error"} else "pending" if "pending" in states else "success"
    return {
        "state": overall if statuses else "pending",
        "sha": sha,
        "total_count": len(statuses),
        "statuses": statuses,
        "repository": repository(url, full_name),
        "commit_url": here,
        "url": f"{here}/status",
    }
