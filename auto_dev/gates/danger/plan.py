"""What a plan in words says it will do. Words deny, mention and ask as well; only what is announced counts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from auto_dev.gates.danger.act import DESTRUCTIVE, EXTERNAL, Act
from auto_dev.gates.danger.words import SAID

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
        ("data.drop_table", "drops a table", _LOST, 4, True, r"\b(?:drop|delete|remov)(?:e|s|p?ing)?\s+(?:the\s+|an?\s+|old\s+|legacy\s+|unused\s+)*[`\"']?(?P<what>[\w.]+)?[`\"']?\s*(?:database\s+)?tables?\b(?:\s+[`\"']?(?P<after>\w+))?|\bDROP\s+(?:TABLE|SCHEMA)\b"),
        ("data.drop_column", "drops a column", _LOST, 4, True, r"\b(?:drop|delete|remov)(?:e|s|p?ing)?\s+(?:the\s+|an?\s+|old\s+|legacy\s+|unused\s+)*[`\"']?(?P<what>[\w.]+)?[`\"']?\s*columns?\b(?:\s+[`\"']?(?P<after>\w+))?"),
        ("data.drop_database", "drops or resets a database", _LOST, 4, True, r"\b(?:drop|reset|wipe|recreat|delet)(?:e|s|p?ing|ting)?\s+(?:the\s+|a\s+|whole\s+|entire\s+|existing\s+)*(?:\w+\s+){0,2}(?:database|schema|db|bucket|volumes?|collection)\b"),
        ("data.empty", "deletes data", _LOST, 4, True, r"\btruncat(?:e|es|ing)\b\s+(?:the\s+)?[`\"']?(?P<what>\w+)|\b(?:delet|wip|purg|eras|clear)(?:e|es|ing)?\s+(?:out\s+)?(?:all|every|existing|old|the)\s+(?:\w+\s+){0,3}(?:data|rows|records|entries|users|accounts|orders|customers|backups?|history)\b"),
        ("external.publish", "publishes", "a version once published cannot be taken back", EXTERNAL, True, r"\b(?:npm publish|twine upload|cargo publish)\b|\bpublish\w*\s+(?:\w+\s+){0,4}(?:to\s+)?(?:npm|pypi|crates\.io|the registry|docker hub|a (?:new )?(?:package|release|version))\b"),
        ("external.deploy", "deploys", "others feel it at once", EXTERNAL, True, r"\bdeploy(?:s|ing)?\s+(?:it|this|the|to)\b"),
        ("external.mail", "sends mail", "what is sent cannot be taken back", EXTERNAL, False, r"\bsend(?:s|ing)?\s+(?:an?\s+|out\s+|the\s+)*(?:e-?mails?|newsletters?|sms)\s+to\s+(?:all\s+|every\s+|our\s+|the\s+)*(?:users?|customers?|people|subscribers?|everyone)\b"),
        ("external.payment", "moves money", "a payment cannot simply be taken back", EXTERNAL, True, r"\b(?:charg|refund)(?:e|es|ing)?\s+(?:all\s+|every\s+|the\s+|our\s+)*(?:users?|customers?|cards?|accounts?)\b"),
    )
) + tuple((rule, pattern, title, why, DESTRUCTIVE, True) for rule, pattern, title, why in SAID)  # fmt: skip
# In a question these alone deny: whoever asks whether to keep or to drop may drop.
_DENIED_ASKED: Final = re.compile(
    r"\b(?:never|without|avoid\w*|instead of|rather than|prevent\w*|refus\w*)\b[^,;:]{0,60}$", re.IGNORECASE
)

_SHOWN: Final = re.compile(r"\b(?:button|dialog|menu|label|tests?|documentation)\b", re.IGNORECASE)


def plan_acts(text: str, *, question: bool = False) -> Iterator[Act]:
    """What the plan announces that a person must decide about, each kind of it once a sentence.

    ``question``: the text asks whether to do it.
    """
    line = 1
    at = 0
    for match in [*_SENTENCE.finditer(text), None]:
        end = match.start() if match else len(text)
        sentence = text[at:end]
        yield from _of_sentence(sentence, line, *((_DENIED_ASKED, _SHOWN) if question else (_DENIED, _BUILDS)))
        line += text.count("\n", at, match.end() if match else end)
        at = match.end() if match else end


def _of_sentence(sentence: str, line: int, denied: re.Pattern[str], builds: re.Pattern[str]) -> Iterator[Act]:
    for rule, pattern, title, why, tier, costly in _SAID:
        for found in pattern.finditer(sentence):
            before = sentence[: found.start()]
            if denied.search(before) or (builds.search(before) and not rule.startswith(("git.", "shell."))):
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
