"""Whether a value is a credential or stands for one: placeholders, templates, hashes and words are none. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise
from typing import Final

from auto_dev.gates.credentials import jwt

SHORTEST: Final = 8
LONGEST: Final = 600
_ENOUGH: Final = 128  # characters that tell what the rest is like

_SPACE: Final = re.compile(r"\s")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_HASHED: Final = re.compile(
    r"sha(?:1|224|256|384|512)[-:]|md5[-:]|h1:|blake\w*[-:]|\{SS?HA\}|\$(?:1|2[abxy]|5|6|7|y|apr1|scrypt|argon2\w*|pbkdf2\S*)\$"
    r"|pbkdf2|scrypt[:$]|bcrypt|argon2|sha(?:1|256|512)\$|[0-9a-f]{16,64}[:$.][0-9a-f]{32,}$",  # last: salt and hash
    re.IGNORECASE,
)
_SEALED: Final = re.compile(r"Ag[A-D][A-Za-z0-9+/=]{100,}|ENC\[.*")  # encrypted to be committed: Sealed Secrets, SOPS
# What a program fills in, or reads from elsewhere.
_TEMPLATE: Final = re.compile(
    r"\$\{|\$\(|\$[A-Z][A-Z_]{3,}|^\$\w+$|\{\{|\}\}|<[%$\w]|%\(|^%[A-Za-z_]+%$|%[sdv]\b|^@[\w.]+@?$|^[<&*]|#\{|\{[\w.!:]*\}|\w\(\)"
)
_ELSEWHERE: Final = re.compile(
    r"^(?:[a-z][a-z0-9+.-]*:|\.{0,2}/|~/|[A-Za-z]:\\|arn:|projects/)|^(?:process|os|env|config|settings|secrets?|vars?|"
    r"self|this|ctx|request|req|options?|props|args?|data|params|local|module)\.[\w.\[\]'\"]+$|"
    r"\.(?:pem|key|json|ya?ml|toml|txt|crt|cert|env|py|js|ts|go|rb|sh|md|html?|xml|com|org|net|io)$",
    re.IGNORECASE,
)
_PLAIN_FACTS: Final = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\d+(?:[.,:/_-]\d+)*[A-Za-z%]{0,3}|v?\d+(?:\.\d+)+(?:[-+.]\w+)*|"
    r"\d{4}-\d\d-\d\d(?:[T ][\d:.]+Z?)?|#[0-9a-fA-F]{3,8}|\[.*\]|\(.*\)|[\w.]+\(.*",
    re.DOTALL,
)
_FAKE_WORDS: Final = re.compile(
    r"example|placeholder|change.?me|changeit|your|dummy|fake|sample|todo|fixme|redacted|insert|replace|xxxx|\*{3}|\.{3}|…|"
    r"1234567|abcdef|qwerty|foobar|foo.?bar|lorem|not.?a.?real|not.?real|invalid|secret.?here|key.?here|token.?here|"
    r"deadbeef|cafebabe|hunter2|letmein|s3cr3t|0{6}|(.)\1{5}|insecure|unsafe|generate|openssl|set.?me|fill.?in|"
    r"do.?not.?use|horse.?battery|battery.?staple|super.?secret|not.?(?:so.?|very.?|a.?)?secret|for.?(?:local|dev|test|ci)|"
    r"\b(?:dev(?:elopment)?|local|test(?:s|ing)?|ci|e2e|unit)[-_. ](?:only|secret|key|token|session|password|pass|pw)",
    re.IGNORECASE,
)
_OWN: Final = re.compile(r"sk-auto-dev-[0-9a-f]{48}")  # the gateway's, for one run: it opens nothing else
_TEST_WORDS: Final = re.compile(
    r"test|mock|stub|demo|temp|local|devel|fixture|secret|password|passw|token|key|user|admin", re.IGNORECASE
)
_LEET: Final = str.maketrans("@4301$57!", "aaeolsstii"[:9])
_COMMON: Final = re.compile(
    r"^(?:my|the|a|new|old|your|user|db|root|admin|app|test|strong|very|super|top|some|default|initial)*"
    r"(?:pass(?:word|wd|phrase|code)?|secret|token|pwd|admin|root|guest|welcome|login|postgres|mysql|mongo|redis|rabbitmq|"
    r"minio|letmein|monkey|dragon|master|access|key|apikey|user|test|demo|hello|world)+"
    r"(?:word|s|here|value|string|only|please)?[\W\d_]*$"
)
_PIECES: Final = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# The 170 commonest pairs of letters in words of programs and their documents: 88 % of all pairs there, 25 % by chance.
_COMMONEST: Final = (
    "abcdgilmnprstu baelu caehiklortu daeiou eacdeflmnprstvx faefio gei haeio iabcdefglmnoprstv ke ladeilostuy maeiop"
    " nacdegiostu ocdlmnoprstuvw paeiloprt qu radegimnorstuy sacehiopstu taehiorstuy uelmnprst vaei wahi xt yt"
)
_PAIRS: Final = frozenset(row[0] + second for row in _COMMONEST.split() for second in row[1:])
_WORDY: Final = 0.55
_MIXED_WORDY: Final = 0.7  # with numbers inside, as names seldom have them
_LETTER: Final = re.compile("[A-Za-z]")
_CLASSES: Final = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"), re.compile("[^A-Za-z0-9]"))


def entropy(text: str) -> float:
    """Shannon's entropy in bits per character."""
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values()) if total else 0.0


def is_placeholder(value: str) -> bool:
    """Whether ``value`` obviously stands for a credential, or names the place where one is read from."""
    if jwt.is_token(value):
        return jwt.opens_nothing(value)
    return bool(
        _OWN.fullmatch(value) or _TEMPLATE.search(value) or _FAKE_WORDS.search(value) or len(set(value)) < 5
        or _HASHED.match(value) or _ELSEWHERE.search(value) or _PLAIN_FACTS.fullmatch(value)
        or _SEALED.fullmatch(value)
    )  # fmt: skip


def is_fake(value: str) -> bool:
    """Whether ``value`` was obviously made up, though its form is that of a credential."""
    return bool(_OWN.fullmatch(value) or _FAKE_WORDS.search(value)) or len(set(value)) < 8


def is_credential(value: str, *, password: bool, strict: bool) -> bool:
    """Whether ``value``, given to something that is named like a credential, is one.

    ``password``: the name says that people choose it, so it need not look random. ``strict``: in tests, examples and
    documents nearly every such value is made up, and only one that looks random counts.
    """
    if not SHORTEST <= len(value) <= LONGEST or _SPACE.search(value):
        return False
    if jwt.is_token(value):
        return not jwt.opens_nothing(value)
    value = value if _SEALED.fullmatch(value) else value[:_ENOUGH]
    if is_placeholder(value) or _UUID.fullmatch(value):
        return False
    if looks_random(value, 20 if strict else 12 if password else 16):
        return not (strict and _TEST_WORDS.search(value))
    return password and not strict and _chosen(value)


def looks_random(value: str, shortest: int = 16) -> bool:
    """Whether ``value`` looks drawn by a machine: no words, no pattern, many different characters."""
    if len(value) < shortest:
        return False
    if _HEX.fullmatch(value):
        return len(value) >= max(shortest, 20) and not value.isdigit() and entropy(value.lower()) >= 2.8
    if not _LETTER.search(value):
        return False
    pairs = _pairs(value)
    wordy = _MIXED_WORDY if len(re.findall(r"\d+(?=[A-Za-z])", value)) > 1 else _WORDY
    if len(pairs) >= 5 and sum(pair in _PAIRS for pair in pairs) > len(pairs) * wordy:
        return False
    return entropy(value) >= (3.3 if len(value) >= 20 else 3.0)


def looks_like_key(value: str) -> bool:
    """Whether a machine drew ``value`` from letters of both cases and digits: more than any name or hash has."""
    return len(value) >= 28 and all(kind.search(value) for kind in _CLASSES[:3]) and looks_random(value, 28)


def _chosen(value: str) -> bool:
    """Whether a person may have chosen ``value`` as a password: several kinds of characters, not a usual one."""
    kinds = sum(1 for kind in _CLASSES if kind.search(value))
    if kinds < 3 or entropy(value) < 2.5:
        return False
    plain = value.lower()
    return not (_COMMON.match(plain) or _COMMON.match(plain.translate(_LEET)) or _identifier(value))


def _identifier(value: str) -> bool:
    """``camelCase2``, ``SNAKE_CASE_1``, ``kebab-Case-v2``: words and numbers, as names are made."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", value):
        return False
    numbers = re.findall(r"\d+", value)
    pairs = _pairs(value)
    return len(numbers) <= 2 and sum(pair in _PAIRS for pair in pairs) > len(pairs) * _WORDY


def _pairs(text: str) -> list[str]:
    """The pairs of letters that stand side by side in ``text``, a change from lower to upper case apart."""
    runs = (run.lower() for run in _PIECES.split(text))
    return [one + other for run in runs for one, other in pairwise(run) if (one + other).isalpha()]
