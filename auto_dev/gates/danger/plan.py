"""What a plan in words says it will do. Words deny, mention and ask as well; only what is announced counts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from auto_dev.gates.danger.act import EXTERNAL, Act

_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|\n+")
_DENIED: Final = re.compile(
    r"\b(?:not|n't|never|no|without|avoid\w*|instead of|rather than|prevent\w*|refus\w*|forbid\w*|guard against|protect\w*|nor|neither|keep\w*|preserv\w*|leav\w*|"
    r"unlike|except|warn\w*|detect\w*|block\w*|reject\w*|disallow\w*|confirm\w* before|ask\w* before|whether|if (?:the )?users?)\b[^,;:]{0,60}$",
    re.IGNORECASE,
)
# What builds a feature that does it some day is a plan to write code, not to do it.
_BUILDS: Final = re.compile(
    r"\b(?:button|dialog|endpoint for|option to|command to|feature|handler|menu|test(?:s|ing)?(?: that| for| case)?|document\w*|explain\w*|support for|page|form|view|"
    r"function (?:that|to)|helper|method (?:that|to)|allow\w* (?:users?|admins?|people) to|so that (?:users?|people)|users? can)\b",
    re.IGNORECASE,
)
_LOST: Final = "what it holds is lost"
_SAID: Final = tuple(
    (rule, re.compile(pattern, re.IGNORECASE), title, why, tier, costly)
    for rule, title, why, tier, costly, pattern in (
        ("data.drop_table", "drops a table", _LOST, 4, True, r"\b(?:drop|delete|remov)(?:e|s|p?ing)?\s+(?:the\s+|an?\s+|old\s+|legacy\s+|unused\s+)*[`\"']?(?P<what>[\w.]+)?[`\"']?\s*(?:database\s+)?tables?\b(?:\s+[`\"']?(?P<after>\w+))?"),
        ("data.drop_column", "drops a column", _LOST, 4, True, r"\b(?:drop|delete|remov)(?:e|s|p?ing)?\s+(?:the\s+|an?\s+|old\s+|legacy\s+|unused\s+)*[`\"']?(?P<what>[\w.]+)?[`\"']?\s*columns?\b(?:\s+[`\"']?(?P<after>\w+))?"),
        ("data.drop_database", "drops or resets a database", _LOST, 4, True, r"\b(?:drop|reset|wipe|recreat|delet)(?:e|s|p?ing|ting)?\s+(?:the\s+|a\s+|whole\s+|entire\s+|existing\s+)*(?:\w+\s+){0,2}(?:database|schema|db|bucket|volumes?|collection)\b"),
        ("data.empty", "deletes data", _LOST, 4, True, r"\btruncat(?:e|es|ing)\b\s+(?:the\s+)?[`\"']?(?P<what>\w+)|\b(?:delet|wip|purg|eras|clear)(?:e|es|ing)?\s+(?:out\s+)?(?:all|every|existing|old|the)\s+(?:\w+\s+){0,3}(?:data|rows|records|entries|users|accounts|orders|customers|backups?|history)\b"),
        ("git.force_push", "pushes by force", "commits of others can be lost", 4, True, r"\bforce[- ]push\w*|\bgit push (?:-f|--force)\b|\brewrit\w+ (?:the )?(?:git )?history\b"),
        ("git.hard_reset", "resets a working copy by force", "what is not committed is lost", 4, True, r"\breset --hard\b|\bhard[- ]reset\w*"),
        ("shell.rm", "deletes folders", _LOST, 4, True, r"\brm -rf?\s+\S+"),
        ("production.change", "works on production", "users feel it at once", 4, True, r"\b(?:deploy|push|releas|rollout|roll out|appl|run|execut|migrat|chang|connect|updat)\w*\b[^.;]{0,60}\b(?:to|in|on|against)\s+(?:the\s+)?(?:live|prod(?:uction)?)\b(?!-)"),
        ("access.guard", "takes a check away or opens something up", "who may do what is a person's decision", 4, True, r"\b(?:disabl|remov|drop|skip|bypass|relax|turn off|switch off|loosen|weaken)\w*\s+(?:the\s+|all\s+|any\s+|our\s+)*(?:\w+\s+){0,2}(?:auth\w*|login|permissions?|access (?:check|control)s?|role checks?|csrf|cors|tls|ssl|certificate|signature|jwt|token (?:check|verification|validation)|rate limit\w*)\b|\bmake\s+(?:\w+\s+){0,4}public(?:ly)?\s*(?:accessible|readable|writable|available)?\b(?=[^.;]*(?:without|auth|bucket|endpoint|access))"),
        ("access.rights", "widens rights", "whoever gets in may do more", 4, True, r"\b(?:grant|give|assign)\w*\s+(?:\w+\s+){0,4}(?:admin|owner|root|superuser|full|all|write)\s+(?:access|rights?|permissions?|privileges?|role)\b|\bwildcard (?:permissions?|polic\w+)\b"),
        ("api.break", "breaks a public interface", "whoever uses it has to change", 4, True, r"\bbreaking (?:api )?change\b|\b(?:remov|renam|drop|delet)\w*\s+(?:the\s+|an?\s+|old\s+|deprecated\s+)*(?:public\s+(?:\w+\s+){0,2}(?:api|function|method|class|export|interface|endpoint|option|field)\w*|(?:\S+\s+)?(?:endpoint|route)s?|api (?:field|version|endpoint)s?)\b"),
        ("credentials.change", "changes credentials", "what uses them may stop, or let others in", 4, True, r"\b(?:rotat|revok|regenerat|replac|delet|reset)\w*\s+(?:the\s+|all\s+|our\s+|existing\s+)*(?:\w+\s+){0,2}(?:api keys?|credentials?|secrets?|passwords?|tokens?|certificates?|ssh keys?)\b|\bhard-?cod\w+\s+(?:\w+\s+){0,3}(?:password|secret|credential|api key|token)"),
        ("infrastructure.delete", "destroys infrastructure", "what runs or is stored there is gone", 4, True, r"\b(?:terraform destroy|kubectl delete|destroy\w*|tear\w* down)\b[^.;]{0,40}\b(?:infrastructure|cluster|namespace|stack|environment|instances?|resources?)\b|\bterraform destroy\b|\bkubectl delete\b|\bdocker volume rm\b"),
        ("external.publish", "publishes", "a version once published cannot be taken back", EXTERNAL, True, r"\b(?:npm publish|twine upload|cargo publish)\b|\bpublish\w*\s+(?:\w+\s+){0,4}(?:to\s+)?(?:npm|pypi|crates\.io|the registry|docker hub|a (?:new )?(?:package|release|version))\b"),
        ("external.deploy", "deploys", "others feel it at once", EXTERNAL, True, r"\bdeploy(?:s|ing)?\s+(?:it|this|the|to)\b"),
        ("external.mail", "sends mail", "what is sent cannot be taken back", EXTERNAL, False, r"\bsend(?:s|ing)?\s+(?:an?\s+|out\s+|the\s+)*(?:e-?mails?|newsletters?|sms)\s+to\s+(?:all\s+|every\s+|our\s+|the\s+)*(?:users?|customers?|people|subscribers?|everyone)\b"),
        ("external.payment", "moves money", "a payment cannot simply be taken back", EXTERNAL, True, r"\b(?:charg|refund)(?:e|es|ing)?\s+(?:all\s+|every\s+|the\s+|our\s+)*(?:users?|customers?|cards?|accounts?)\b"),
    )
)  # fmt: skip


def plan_acts(text: str) -> Iterator[Act]:
    """What the plan announces that a person must decide about, each kind of it once a sentence."""
    line = 1
    at = 0
    for match in [*_SENTENCE.finditer(text), None]:
        end = match.start() if match else len(text)
        sentence = text[at:end]
        yield from _of_sentence(sentence, line)
        line += text.count("\n", at, match.end() if match else end)
        at = match.end() if match else end


def _of_sentence(sentence: str, line: int) -> Iterator[Act]:
    for rule, pattern, title, why, tier, costly in _SAID:
        for found in pattern.finditer(sentence):
            before = sentence[: found.start()]
            if _DENIED.search(before) or (_BUILDS.search(before) and not rule.startswith(("git.", "shell."))):
                continue
            groups = found.groupdict()
            what = groups.get("what") or groups.get("after") or ""
            subject = (
                what.lower().rsplit(".", 1)[-1] if rule.startswith("data.") and what.lower() not in _FILLERS else ""
            )
            yield Act(
                rule,
                subject or found[0].lower(),
                f"plans that it {title}",
                why,
                "the plan",
                line,
                sentence.strip()[:400],
                tier,
                costly,
            )
            break


_FILLERS: Final = frozenset(
    ("the", "a", "an", "old", "unused", "legacy", "database", "that", "this", "these", "which", "and", "from")
)
