"""What ``doctor`` finds out about GitHub: token or App, rights, repository, base branch. It only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import ValidationError

from auto_dev.errors import ForgeError
from auto_dev.forge.base import ForgeUnavailableError
from auto_dev.forge.credentials import Credentials
from auto_dev.forge.github_answers import Answer, RepositoryAnswer
from auto_dev.forge.github_app import AppTokens
from auto_dev.forge.github_client import GitHubClient, RefusedError
from auto_dev.text import line

_RIGHTS: Final = (("checks", "check-runs"), ("statuses", "status"))


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    text: str


class _Rights(Answer):
    push: bool = False


class _Repository(RepositoryAnswer):
    default_branch: str
    archived: bool = False
    permissions: _Rights | None = None  # of a person's token; an App has an installation's


class _Commit(Answer):
    sha: str


class _Branch(Answer):
    commit: _Commit
    protected: bool = False


async def examine(client: GitHubClient, credentials: Credentials, base_branch: str) -> list[Seen]:
    """Everything that can be told by reading; an error in one step leaves out what builds on it."""
    try:
        who = await _who(credentials)
        repository = _Repository.model_validate(await client.get(""))
        return [*who, *_about(repository, client.repository, credentials), *await _branch(client, base_branch)]
    except ForgeUnavailableError as error:
        return [Seen("warning", str(error))]  # not reached now says nothing about tonight
    except ForgeError as error:
        return [Seen("error", str(error))]
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        return [Seen("error", f"GitHub's answer is not what it publishes ({where}). Check [forge] api_url.")]


async def _who(credentials: Credentials) -> list[Seen]:
    if not isinstance(credentials, AppTokens):
        await credentials.token()
        return []
    grant = await credentials.grant()
    seen = [Seen("ok", f"App {grant.app or '?'}, installation {grant.installation}; tokens for this repository alone")]
    if grant.missing:
        mend = "Give the App these, and accept them where it is installed"
        seen.append(Seen("warning", f"the App lacks {', '.join(grant.missing)}. {mend}"))
    return seen


def _about(repository: _Repository, wanted: str, credentials: Credentials) -> list[Seen]:
    if repository.archived:
        return [Seen("error", f"{wanted} is archived: nothing can be pushed to it")]
    if repository.full_name.lower() != wanted.lower():
        named = line(repository.full_name, 140)
        return [Seen("error", f"{wanted} is now {named}. Set [forge] repository to its new name.")]
    rights = repository.permissions
    if credentials.kind == "token" and rights is not None and not rights.push:
        return [Seen("error", f"the token may not push to {wanted}. It needs Contents and Pull requests: write.")]
    default = line(repository.default_branch, 200)
    return [Seen("ok", f"{wanted} can be read{' and pushed to' if rights else ''}; its default branch is {default}")]


async def _branch(client: GitHubClient, base_branch: str) -> list[Seen]:
    try:
        found = _Branch.model_validate(await client.get(f"/branches/{quote(base_branch, safe='')}"))
    except RefusedError as error:
        if error.status != 404:
            raise
        return [Seen("error", f"there is no branch {base_branch!r} on GitHub. Push it, or set [project] base_branch.")]
    hint = (
        f"{base_branch} is protected; its rules must let branches auto-dev/* be pushed"
        if found.protected
        else f"{base_branch} is not protected: auto-dev never pushes there, but a rule would bind the token, too"
    )
    return [Seen("ok", hint), *await _readable(client, found.commit.sha)]


async def _readable(client: GitHubClient, sha: str) -> list[Seen]:
    """Whether checks can be read: without, failed ones of a draft go unnoticed."""
    seen = []
    for name, path in _RIGHTS:
        try:
            answer: Any = await client.get(f"/commits/{sha}/{path}", {"per_page": "1"})
            del answer  # what it says does not matter
        except RefusedError as error:
            if error.status not in (403, 404):
                raise
            seen.append(Seen("warning", f"{name} cannot be read, so failed ones are not noticed: {error.what}"))
    return seen
