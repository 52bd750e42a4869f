"""Names that credentials are given to, in code and in data. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final

HIT: Final = re.compile(r"pass|pwd?|secret|token|key|credential", re.IGNORECASE)
_REST: Final = re.compile(r"[\w.$-]*")
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$-")
_LONGEST: Final = 80

_TAIL: Final = (
    r"(?:[_.-]?(?:value|text|plain|string|default|b(?:ase)?64|"
    r"prod(?:uction)?|dev|stag(?:e|ing)|live|old|new|base|v?\d{1,2}))?"
)
_ENDS: Final = re.compile(
    r"(?:pass(?:word|wd|phrase|code)|pwd|(?:^|[_.-])(?:pass|pw)|secret|token|credentials?|"
    r"(?:api|access|auth|private|signing|signature|encryption|master|account|shared|secret|storage|service|admin|"
    r"subscription|session|hmac|jwt|webhook|app|client|license|fernet|cookie|crypt\w{0,6})[_.-]?key)" + _TAIL + "$",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"[a-z]Pass$")
_KEY: Final = re.compile(r"(?:^|[_.-])(?:KEY|key)$|[a-z]Key$")
_OF_THE_PROGRAM: Final = re.compile(
    r"(?:session|cookie|csrf|jwt|hmac|signing|signature|fernet|encryption|auth|app|flask|django|hash)s?[_.-]?"
    r"(?:secret|key)"
    r"|^secret[_.-]?key$",
    re.IGNORECASE,
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# A word before the last one after which it is no credential: ``next_page_token``, ``publicKey``, ``max_tokens``.
_BEFORE: Final = (
    "public publishable site page next continuation cursor sync resume csrf xsrf cancel cancellation design anon"
    " primary foreign sort partition cache idempotency translation i18n hot short no forgot reset confirm has is use"
    " max min num count total input output prompt completion stop start end special eos bos pad unk mask syntax lexer"
    " lex type verify instrumentation commit git object row map dict json group range index query"
)
_HARMLESS: Final = frozenset(_BEFORE.split())
_CHOSEN: Final = re.compile(r"pass|pwd?", re.IGNORECASE)

_DATA: Final = re.compile(
    r"(?:^|/)(?:[\w.-]*\.env(?:\.[\w.-]*)?|\.?env[\w.-]*|dockerfile[\w.-]*|makefile|\.npmrc|\.netrc|\.pypirc|procfile)$",
    re.IGNORECASE,
)
_DATA_ENDINGS: Final = (
    ".ini", ".cfg", ".conf", ".cnf", ".properties", ".yml", ".yaml", ".sh", ".bash", ".zsh", ".fish", ".ps1", ".bat",
    ".service", ".config", ".tfvars", ".ipynb",
)  # fmt: skip
_MADE_UP: Final = re.compile(
    r"(?:^|/)(?:tests?|specs?|__tests__|testdata|test[_-]?data|(?:__)?fixtures?(?:__)?|mocks?|__mocks__|cassettes?|(?:__)?snapshots?(?:__)?|"
    r"examples?|samples?|docs?|demo|e2e|cypress|playwright|stories|factories|stubs?|seeds?|testing|"
    r"test[-_]?(?:utils?|helpers?|support))/"
    r"|(?:^|/)(?:test_[^/]*|conftest\.py|readme[^/]*|changelog[^/]*)$"
    r"|[._-](?:test|tests|spec|example|sample|template|dist|tmpl|default|dev|development|ci|stories|seed)(?:\.\w+)?$|\.(?:md|mdx|rst|adoc|txt|html?)$",
    re.IGNORECASE,
)
_GENERATED: Final = re.compile(
    r"(?:^|/)(?:[^/]*\.lock|[^/]*-lock\.(?:json|ya?ml)|npm-shrinkwrap\.json|go\.sum|"
    r"[^/]*\.(?:min\.js|min\.css|map|svg|woff2?|ttf|po|pot|xlf|csv|tsv))$",
    re.IGNORECASE,
)


def is_made_up(path: str) -> bool:
    """Whether the file is a test, an example or a document: nearly every password there is made up."""
    return _MADE_UP.search(path) is not None


def is_generated(path: str) -> bool:
    """Whether the file is full of hashes and numbers that nobody wrote."""
    return _GENERATED.search(path) is not None


def takes_bare_words(path: str) -> bool:
    """Whether a value needs no quotes there, as in a shell script, ``.env`` or YAML."""
    ending = posixpath.splitext(path)[1].lower()
    return not ending or ending in _DATA_ENDINGS or _DATA.search(path) is not None


def names_in(row: str) -> Iterator[tuple[str, int, int]]:
    """The names in ``row`` that end like a credential's, with where each begins and ends."""
    done = 0
    for hit in HIT.finditer(row):
        if hit.start() < done:
            continue
        begin = hit.start()
        while begin > done and row[begin - 1] in _NAME:
            begin -= 1
        rest = _REST.match(row, hit.end())
        done = rest.end() if rest else hit.end()
        name = row[begin:done].rstrip(".-")
        end = begin + len(name)
        begin += len(name) - len(name.lstrip(".-"))
        if end - begin <= _LONGEST and is_credential_name(row[begin:end]):
            yield row[begin:end], begin, end


def is_credential_name(name: str) -> bool:
    """Whether a thing of this name may be a credential."""
    if not (_ENDS.search(name) or _CAMEL.search(name) or is_some_key(name)):
        return False
    words = [word.lower() for word in _WORDS.findall(name)]
    return words[-2] not in _HARMLESS if len(words) > 1 else True


def is_some_key(name: str) -> bool:
    """Whether the name says only that it is a key, which most often is none of those that open something."""
    return _KEY.search(name) is not None and not (_ENDS.search(name) or _CAMEL.search(name))


def is_of_the_program(name: str) -> bool:
    """Whether a program signs or encrypts its own data with what has this name: a test sets one that opens nothing."""
    return _OF_THE_PROGRAM.search(name) is not None


def is_chosen_by_people(name: str) -> bool:
    """Whether what has this name is chosen by people, so that it need not look random."""
    return _CHOSEN.search(name) is not None
