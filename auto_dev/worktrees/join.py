"""A story's commits joined to one, so that what an earlier commit held is in none that leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from auto_dev.worktrees import build
from auto_dev.worktrees.agent_commits import keep
from auto_dev.worktrees.collect import with_trailers
from auto_dev.worktrees.git import GitAt
from auto_dev.worktrees.names import require_sha
from auto_dev.worktrees.site import Site


async def join(
    site: Site,
    base_sha: str,
    unwanted: Collection[str],
    known: Sequence[str],
    message: str,
    trailers: Mapping[str, str],
) -> str:
    """Put the branch on one commit with the files that it has now, after the last commit that is free of ``unwanted``.

    ``base_sha``: what the branch is judged against; nothing before it is touched.

    ``known``: commits of the base branch; what of them the branch has merged stays merged. The former commits are kept
    under a salvage ref. Returns the branch's new head.
    """
    record = site.record()
    story = await site.story(record)
    kept = await _last_clean(site.bare, base_sha, story.head, unwanted)
    if kept == story.head:
        return story.head
    parents = [kept, *await _merged(site.bare, kept, story.head, known)]
    if len(parents) == 1 and await site.bare.text("rev-parse", f"{kept}^{{tree}}") == story.tree:
        head = kept
    else:
        head = await site.commit_with(story.tree, parents, with_trailers(message, trailers))
    await keep(site.bare, record.run_id, story.head)
    await site.move_branch(record, head, story.head, "join")
    await build.renew_private(site, record, head, story.refs)
    return head


async def _last_clean(at: GitAt, base_sha: str, head_sha: str, unwanted: Collection[str]) -> str:
    """The last commit, going from the base along first parents, that contains none of ``unwanted``."""
    rows = await at.text("rev-list", "--first-parent", "--reverse", require_sha(head_sha), f"^{require_sha(base_sha)}")
    clean = base_sha
    for sha in rows.split():
        new = set((await at.text("rev-list", sha, f"^{base_sha}")).split())
        if not new.isdisjoint(unwanted):
            break
        if (await at.run("merge-base", "--is-ancestor", base_sha, sha, ok=(0, 1))).code == 0:
            clean = sha
    return clean


async def _merged(at: GitAt, kept: str, head: str, known: Sequence[str]) -> list[str]:
    """What ``head`` has of ``known`` and ``kept`` lacks."""
    found: list[str] = []
    for tip in known:
        common = (await at.run("merge-base", head, require_sha(tip), ok=(0, 1))).text
        if common and (await at.run("merge-base", "--is-ancestor", common, kept, ok=(0, 1))).code != 0:
            found.append(common)
    return list(dict.fromkeys(found))
