"""No credential leaves: not in a file, not in an earlier commit, not in a commit's message."""

from __future__ import annotations

from collections.abc import Sequence

from auto_dev.gates.base import GateContext, Judgement, Leak
from auto_dev.gates.credentials.scanner import shown
from auto_dev.gates.evidence import Finding, entry, weighed
from auto_dev.model import Route

_MOST = 50


class SecretsGate:
    """Asks for every credential that the run's commits bring. What it shows is never the credential itself."""

    name = "secrets"

    async def judge(self, context: GateContext) -> Judgement:
        leaks = await context.leaks()
        new = [leak for leak in leaks if leak.fingerprint not in context.accepted]
        return judge_leaks(new or leaks)


def judge_leaks(leaks: Sequence[Leak]) -> Judgement:
    """The judgement of ``leaks``. Pure."""
    findings = [_finding(leak) for leak in leaks[:_MOST]]
    if len(leaks) > _MOST:
        title = f"{len(leaks) - _MOST} more credentials"
        findings.append(Finding(Route.ASK, title, entry(title)))
    return weighed(findings, "no credential in any commit")


def _finding(leak: Leak) -> Finding:
    unread = leak.kind.startswith("it could not")
    place = "" if leak.at_head else " in an earlier commit" if leak.file else " in the message of a commit"
    title = f"{leak.kind}{place}"
    row = entry(
        title,
        file=leak.file,
        at=leak.line if leak.file else None,
        excerpt=f"commit {leak.commit[:12]}" if unread else f"{shown(leak.value)}, commit {leak.commit[:12]}",
        fingerprint=leak.fingerprint,
    )
    return Finding(Route.ASK, "a file that could not be looked through" if unread else "a credential" + place, row)
