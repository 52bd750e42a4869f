"""Credentials that people set themselves: assigned, passed, in addresses, headers and connection strings. Pure.

The library knows what providers issue by its form. A password has none: what gives it away is what it is given to.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from auto_dev.gates.credentials.names import (
    is_chosen_by_people,
    is_credential_name,
    is_generated,
    is_made_up,
    is_of_the_program,
    is_some_key,
    names_in,
    takes_bare_words,
)
from auto_dev.gates.credentials.values import is_credential, is_fake, is_placeholder, looks_like_key, looks_random

_QUOTED: Final = (
    r"""[bru]{0,2}(?:\\?"(?P<double>(?:[^"\\\n]|\\[^"\n]){6,600})\\?"|'(?P<single>(?:[^'\\\n]|\\.){6,600})'"""
    r"""|`(?P<tick>[^`\n]{6,600})`)"""
)
_BARE: Final = r"""(?P<bare>[^\s"'`,;<>{}()\[\]\\]{6,600})"""
_TYPE: Final = r"(?:\s*:\s*(?:&'?\w{0,10} ?str|str|string|bytes|Final(?:\[str\])?|SecretStr)|\s+string)?"

# What stands around a value and leaves it what it is, and what it is given to when nothing else is.
_WRAPPED: Final = (
    r"(?:(?:\[\]byte|bytes|str|String|SecretStr|Secret|Buffer\.from|atob|(?:base64\.)?(?:urlsafe_)?b64decode|"
    r"Base64\.(?:strict_)?decode(?:64)?|new TextEncoder\(\)\.encode)\(\s*)?"
)
_ELSE: Final = r"(?:[\w.\[\]()'\"?]{1,80}\s{1,3}(?:or|\|\||\?\?)\s{1,3})?"

# What may follow a name. Each is matched where the name ends.
_GIVEN: Final = re.compile(
    rf"""(?i)\\?["']?\]?{_TYPE}\s{{0,6}}(?:=>|:=|\?=|=|:)\s{{0,6}}(?:{_ELSE}{_WRAPPED}{_QUOTED}|{_BARE})"""
)
_OTHERWISE: Final = re.compile(rf"""(?i)["'\])]{{0,3}}\s{{1,3}}(?:or|\|\|=?|\?\?=?)\s{{1,3}}{_WRAPPED}{_QUOTED}""")
_SHELL_ELSE: Final = re.compile(r"""(?<=\w):[-=](?P<bare>[^\s"'`{}$]{6,600})\}""")
_NAMED: Final = re.compile(r"""["']\s{0,3}>\s{0,3}(?P<bare>[^<>\s]{6,600})\s{0,3}</""")
_SPOKEN: Final = re.compile(
    r"""(?i)(?:\s+(?:of|for|on|in|to|from|at|the|our|is|was|staging|production|prod|test\w*|key)){0,5}\s+[`"']?"""
    r"""(?P<bare>[^\s`"'<>]{20,600})"""
)
_PAIR: Final = re.compile(rf"""(?i)["']\s*,\s*{_QUOTED}""")
_CALLED: Final = re.compile(rf"(?i)\(\s*{_QUOTED}\s*[,)]")
_OPTION: Final = re.compile(rf"""(?i)(?:=|\s+|["']\s*,\s*)(?:{_QUOTED}|{_BARE})""")
_TAGGED: Final = re.compile(r"[^<>\n]{0,100}>\s*(?P<bare>[^<>\s]{6,600})\s*</")
_ATTRIBUTE: Final = re.compile(rf"""(?i)["'][^<>\n]{{0,100}}?\bvalue\s*=\s*{_QUOTED}""")
_BELOW: Final = re.compile(
    rf"""(?i)\bname:\s*["']?(?P<name>[\w.$-]{{1,80}})["']?[ \t]*\n\s*value:[ \t]*(?:{_QUOTED}|{_BARE})"""
)

_JSON_BELOW: Final = re.compile(
    rf"""(?i)"(?:name|key)"\s{{0,9}}:\s{{0,9}}"(?P<name>[\w.$-]{{1,80}})"\s{{0,9}},\s{{0,40}}"value"\s{{0,9}}:\s{{0,9}}{_QUOTED}"""
)
_BREAK: Final = re.compile(r"(?:[:=][ \t]{0,9}[(>|]?[-+]?|</key>)[ \t]{0,9}\r?\n[ \t]{0,200}(?=[\"'`\w<])")
_OPEN: Final = re.compile(rf"""(?i)\\?["']?\]?{_TYPE}\s{{0,6}}(?:=|:|</key>)""")
_CLOSED: Final = re.compile(rf"(?:<string>(?P<bare>[^<>\s]{{6,600}})</string>|{_WRAPPED}{_QUOTED})")
_BLOCK: Final = re.compile(r"(?P<bare>\S{6,600})[ \t]*(?=\n|$)")

# ``login("ann", "…")``: the last of what such a function is given.
_LOGIN: Final = re.compile(
    r"(?i)\b(?:log_?in|sign_?in|authenticate|(?:set_?)?(?:http)?(?:basic|proxy|digest)_?auth)\(\s*"
    rf"(?:[\w.]{{1,60}}|[\"'][^\"'\n]{{1,128}}[\"'])\s*,\s*{_QUOTED}\s*\)"
)
# What is keyed with a secret: ``createHmac('sha256', '…')``, ``hmac.New(sha256.New, []byte("…"))``, ``Fernet("…")``.
_KEYED: Final = re.compile(
    rf"(?i)\b(?:createHmac|createCipheriv|createSecretKey|hmac\.new|HmacSHA\d+|Fernet|SecretKeySpec)\(\s*"
    rf"(?:[\w.'\"-]{{1,40}}\s*,\s*)?{_WRAPPED}{_QUOTED}"
)
_SQL: Final = re.compile(rf"(?i)\b(?:password|identified\s{{1,3}}(?:with\s{{1,3}}\w+\s{{1,3}})?by)\s{{1,3}}{_QUOTED}")
_COMMAND: Final = re.compile(
    rf"\b(?:mysql(?:dump|admin|import)?|mariadb|sshpass)\b[^\n|;&]{{0,200}}?\s-p ?(?:{_QUOTED}|{_BARE})"
)
_CURL: Final = re.compile(
    r"\bcurl\b[^\n|;&]{0,400}?\s(?:-u|--user)[ =]{0,3}[\"']?[\w.@-]{1,64}:(?P<bare>[^\s\"'`@]{8,256})"
)
_COOKIE: Final = re.compile(
    r"(?i)cookies?\b[^\n]{0,80}?\b(?:\w{0,20}sess\w{0,20}|sid|\w{0,20}auth\w{0,20})[\"']?\s{0,3}[=:]\s{0,3}[\"']?"
    r"(?P<value>[\w.~+/%=-]{20,600})"
)
_PAIRED: Final = re.compile(
    rf"(?i)\bauth\s{{0,3}}[=:]\s{{0,3}}[(\[]\s{{0,3}}[\"'][^\"'\n]{{1,128}}[\"']\s*,\s*{_QUOTED}"
)
_BEARER: Final = re.compile(r"(?i)(?:^|[\s\"'`:-])bearer\s{1,3}(?P<value>[\w.~+/=-]{20,600})")
_HASHES: Final = re.compile(r"(?i)commit|hash|sha\d|revision|digest|checksum|finger|etag|\bid\b")
_PLAIN_HEX: Final = re.compile(r"[0-9a-fA-F]+[.,;:)]?")
_SIGNED: Final = re.compile(rf"(?i)\bjwt\.(?:sign|verify|encode|decode)\([^\n]{{1,120}}?,\s*{_QUOTED}")
_OF_PEOPLE: Final = {
    _LOGIN: "a password in a login", _PAIRED: "a password in a login", _SQL: "a password in SQL",
    _COMMAND: "a password in a command",
    _CURL: "a password in a command", _KEYED: "a signing key in the code", _SIGNED: "a signing key in the code",
}  # fmt: skip
_HEADER: Final = re.compile(
    r"""(?i)\bauthorization\b["'\]]*\s*[:,=]\s*[fbru]{0,2}["'`]?\s*(?P<scheme>basic|bearer|token)\s+"""
    r"(?P<value>[\w.~+/=-]{8,600})"
)
_ADDRESS: Final = re.compile(
    r"""://(?P<user>[^\s/:@"'`<>]{0,128}):(?P<value>[^\s/@"'`<>]{3,256})@(?P<host>[\w.\[\]:%{}$-]{1,253})"""
)
# A token alone before the host, in the query or the fragment of an address, or in its path as Telegram has it. What
# ends in a number is the address of an error tracker, which is public.
_USER: Final = re.compile(r"""://(?P<value>[^\s/:@"'`<>]{20,256})@(?![\w.-]{1,253}/\d+(?![\w/]))""")
_QUERY: Final = re.compile(r"""[?&#](?P<name>[\w.-]{2,80})=(?P<value>[^\s&#"'`<>;,)\]}\\]{8,600})""")
_BOT: Final = re.compile(r"(?<!\d)(?P<value>\d{8,10}:AA[\w-]{33})(?![\w-])")
_DSN: Final = re.compile(r""":(?P<value>[^\s:@/"'`]{6,256})@(?:tcp|unix)\(""")
_CONNECTED: Final = re.compile(r"jdbc:|server\s*=|host\s*=|data source\s*=|user(?: id)?\s*=|uid\s*=", re.IGNORECASE)
_CONNECTION: Final = re.compile(r"""(?i)(?:^|[;?&"'])\s*(?:password|pwd)\s*=\s*(?P<value>[^;&"'`\s]{6,256})""")
_ACCOUNT: Final = re.compile(
    r"(?i)\b(?:AccountKey|SharedAccessKey|SharedSecret)\s*=\s*(?P<value>[A-Za-z0-9+/]{32,600}={0,2})"
)
_SIGNATURE: Final = re.compile(r"[?&;]sig=(?P<value>[A-Za-z0-9%+/]{30,600}(?:%3D|=){0,2})")
_AWS: Final = re.compile(r"(?<![A-Z0-9])(?P<value>A[KS]IA[A-Z2-7]{16})(?![A-Z0-9])")
_REGISTRY: Final = re.compile(r":_(?:authToken|password|auth)\s*=\s*(?P<value>\S{6,600})")
_NETRC: Final = re.compile(r"(?i)\blogin\s{1,20}\S{1,128}\s{1,20}password\s{1,20}(?P<value>\S{6,256})")
_PGPASS: Final = re.compile(r"(?m)^[^:\s#]{1,253}:(?:\d{1,5}|\*):[^:\n]{1,128}:[^:\n]{1,128}:(?P<value>\S{6,256})$")
_DOCKER: Final = re.compile(r"\"auth\"\s*:\s*\"(?P<value>[A-Za-z0-9+/]{12,600}={0,2})\"")
_SECRET_KIND: Final = re.compile(r"(?m)^kind:\s*[\"']?Secret\b")
_ENCODED: Final = re.compile(r"(?m)^\s+(?P<name>[\w.$-]{1,80}):[ \t]*(?P<value>[A-Za-z0-9+/]{8,600}={0,2})[ \t]*$")
# In lower case: rows without one of these are not looked at, and `find` is forty times quicker than a search.
_NEEDLES: Final = (
    b"pass", b"pwd", b"secret", b"token", b"key", b"credential", b"://", b"akia", b"asia", b"authorization", b"jwt",
    b"_auth", b"@tcp", b"@unix", b"sig=", b"log", b"sign", b"auth", b":aa", b"pw",
    b"bearer", b"identified", b"hmac", b"fernet", b"cipher", b"mysql", b"mariadb", b"curl", b"cookie",
)  # fmt: skip
_LONG: Final = 4_000  # characters of a row that are looked at at once
_OVERLAP: Final = 800
_MOST: Final = 60  # names in such a piece; more are no program


@dataclass(frozen=True, slots=True)
class Found:
    """A credential at ``line`` (from 1) of what was searched. ``value`` is in no repr."""

    kind: str
    value: str = field(repr=False)
    line: int


Hits = Iterator[tuple[str, str]]  # kind, value


def assigned(data: bytes, path: str) -> list[Found]:
    """The credentials in ``data``, the content of the file at ``path``, by what they are given to. Never raises."""
    if is_generated(path):
        return []
    strict, bare = is_made_up(path), takes_bare_words(path)
    found: list[Found] = []
    for number, row in _rows(data):
        for part in _parts(row):
            found += (Found(kind, value, number) for kind, value in _of_row(part, strict=strict, bare=bare))
    for search in (_of_names_and_values, _of_next_rows, _of_logins, _of_encoded):
        found += (Found(kind, value, number) for kind, value, number in search(data, path))
    return found


def _rows(data: bytes) -> Iterator[tuple[int, str]]:
    """The rows that may hold a credential, with their numbers."""
    folded = data.lower()
    places = {needle: folded.find(needle) for needle in _NEEDLES}
    at, number = 0, 1
    while hits := [place for place in places.values() if place >= 0]:
        place = min(hits)
        number += folded.count(b"\n", at, place)
        begin, end = folded.rfind(b"\n", 0, place) + 1, folded.find(b"\n", place)
        at = end = len(data) if end < 0 else end
        yield number, data[begin:end].decode("utf-8", "replace")
        for needle, former in places.items():
            if 0 <= former < end:
                places[needle] = folded.find(needle, end)


def _parts(row: str) -> Iterator[str]:
    """``row``, or overlapping pieces of a very long one: what is looked for is short."""
    if len(row) <= _LONG:
        yield row
        return
    for begin in range(0, len(row), _LONG - _OVERLAP):
        yield row[begin : begin + _LONG]


def _of_row(row: str, *, strict: bool, bare: bool) -> Hits:
    for name, begin, end in islice(names_in(row), _MOST):
        for pattern in (_GIVEN, _PAIR, _CALLED, _ATTRIBUTE, _OTHERWISE):
            if match := pattern.match(row, end):
                yield from _given(name, match, strict=strict, bare=bare)
        if (match := _SPOKEN.match(row, end)) and not (_PLAIN_HEX.fullmatch(match["bare"]) and _HASHES.search(row)):
            yield from _given(name, match, strict=strict, bare=False)
        for pattern in _bare_ones(row, begin):
            if match := pattern.match(row, end):
                yield from _given(name, match, strict=strict, bare=True)
    for pattern, kind in _OF_PEOPLE.items():
        for match in pattern.finditer(row):
            if is_credential(value := _value(match)[0], password=True, strict=strict):
                yield kind, value
    yield from _of_connections(row, strict=strict)


def _bare_ones(row: str, begin: int) -> Iterator[re.Pattern[str]]:
    """What takes a bare word as its value after the name that begins at ``begin``."""
    yield from (_SHELL_ELSE, _NAMED)
    if row.startswith("--", max(begin - 2, 0)) or row[begin:].startswith("--") or row[max(begin - 1, 0)] == "-":
        yield _OPTION
    elif begin and row[begin - 1] == "<":
        yield _TAGGED


def _given(name: str, match: re.Match[str], *, strict: bool, bare: bool) -> Hits:
    """What ``match`` gives to ``name``, when it is a credential."""
    value, quoted = _value(match)
    if not quoted:
        value = value.rstrip(".:")
        # In code a bare word is an expression and in prose a word, unless it is a random one.
        if not bare and not looks_random(value := value.split("&", 1)[0], 20 if strict else 24):
            return
    if (is_some_key(name) and not looks_like_key(value)) or (strict and is_of_the_program(name)):
        return
    password = is_chosen_by_people(name)
    plain = _decoded(value) if len(value) < 200 else ""
    if plain.isprintable() and len(plain) > 3 and not is_credential(plain, password=password, strict=strict):
        return  # encoded, and harmless inside
    if is_credential(value, password=password, strict=strict):
        yield f"a password ({name})" if password else f"a credential ({name})", value


def _value(match: re.Match[str]) -> tuple[str, bool]:
    groups = match.groupdict()
    quoted = groups.get("double") or groups.get("single") or groups.get("tick")
    return (quoted, True) if quoted else (groups.get("bare") or "", False)


def _of_connections(row: str, *, strict: bool) -> Hits:
    """Addresses and connection strings, and what headers hold."""

    def real(value: str) -> bool:
        return _is_password(value, strict=strict)

    kinds: list[tuple[str, re.Pattern[str], str, Callable[[str], bool]]] = [
        ("://", _ADDRESS, "a password in an address", real),
        ("@", _USER, "a token in an address", _is_drawn),
        ("@", _DSN, "a password in an address", real),
        (":AA", _BOT, "a bot's token", lambda value: not is_fake(value)),
        ("sig=", _SIGNATURE, "a signed address", _is_drawn),
        ("IA", _AWS, "an AWS access key id", _is_key_id),
        (":_", _REGISTRY, "a registry token", lambda value: not is_placeholder(value)),
        ("=", _ACCOUNT, "an account key", _is_drawn),
    ]
    if _CONNECTED.search(row):
        kinds.append(("=", _CONNECTION, "a password in a connection string", real))
    for hint, pattern, kind, fits in kinds:
        if hint in row:
            yield from ((kind, match["value"]) for match in pattern.finditer(row) if fits(match["value"]))
    for match in _QUERY.finditer(row) if "=" in row and ("://" in row or "?" in row) else ():
        if is_credential_name(match["name"]) and _is_drawn(match["value"]):
            yield f"a credential in an address ({match['name']})", match["value"]
    yield from _of_headers(row, strict=strict)


def _of_headers(row: str, *, strict: bool) -> Hits:
    for match in (*_BEARER.finditer(row), *_COOKIE.finditer(row)):
        if _is_drawn(match["value"]):
            yield "a token in a header", match["value"]
    for match in _HEADER.finditer(row):
        if match["scheme"].lower() != "basic":
            if _is_drawn(match["value"]):
                yield "a token in a header", match["value"]
        elif _holds_password(match["value"], strict=strict):
            yield "a password in a Basic header", match["value"]


def _is_drawn(value: str) -> bool:
    return looks_random(value, 20) and not is_placeholder(value)


def _is_key_id(value: str) -> bool:
    return "EXAMPLE" not in value and not is_placeholder(value) and len(set(value)) > 8


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode("utf-8").strip()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def _holds_password(encoded: str, *, strict: bool) -> bool:
    """Whether ``encoded`` is the Base64 of ``user:password`` with a real password."""
    user, colon, password = _decoded(encoded).partition(":")
    return bool(colon) and user.isprintable() and is_credential(password, password=True, strict=strict)


Placed = Iterator[tuple[str, str, int]]  # kind, value, line


def _of_names_and_values(data: bytes, path: str) -> Placed:
    """``- name: X`` with ``value: Y`` in the next row, ``"name": "X", "value": "Y"`` in JSON."""
    pattern = _BELOW if path.lower().endswith((".yml", ".yaml")) else _JSON_BELOW
    if (b"value:" if pattern is _BELOW else b'"value"') not in data:
        return
    text = data.decode("utf-8", "replace")
    for match in pattern.finditer(text):
        if is_credential_name(match["name"]):
            for kind, value in _given(match["name"], match, strict=is_made_up(path), bare=True):
                yield kind, value, _line(text, match.end())


def _of_next_rows(data: bytes, path: str) -> Placed:
    """A name at the end of a row and its value alone in the next one."""
    text, strict = data.decode("utf-8", "replace"), is_made_up(path)
    block = path.lower().endswith((".yml", ".yaml"))
    for match in _BREAK.finditer(text):
        row = text[max(text.rfind("\n", 0, match.start()) + 1, match.start() - 200) : match.end()]
        names = [(name, end) for name, _, end in names_in(row) if _OPEN.match(row, end)]
        value = _CLOSED.match(text, match.end())
        if value is None and block and match[0][0] == ":":
            value = _BLOCK.match(text, match.end())
        if value is None:
            continue
        for name, _ in names[-1:]:
            for kind, found in _given(name, value, strict=strict, bare=True):
                yield kind, found, _line(text, value.start())


def _of_logins(data: bytes, path: str) -> Placed:
    """What only files of a certain kind hold: ``.netrc``, ``.pgpass``, Docker's ``config.json``."""
    name = posixpath.basename(path).lower()
    hints = {_NETRC: b"login " in data, _PGPASS: "pgpass" in name, _DOCKER: b'"auth"' in data}
    if not any(hints.values()):
        return
    text, strict = data.decode("utf-8", "replace"), is_made_up(path)
    for pattern in (pattern for pattern, hinted in hints.items() if hinted):
        for match in pattern.finditer(text):
            value = match["value"]
            real = _holds_password(value, strict=strict) if pattern is _DOCKER else _is_password(value, strict=strict)
            if real:
                kind = "a registry password" if pattern is _DOCKER else "a login's password"
                yield kind, value, _line(text, match.start("value"))


def _of_encoded(data: bytes, path: str) -> Placed:
    """The data of a Kubernetes Secret."""
    if b"Secret" not in data or not path.lower().endswith((".yml", ".yaml")):
        return
    text = data.decode("utf-8", "replace")
    for match in _ENCODED.finditer(text) if _SECRET_KIND.search(text) else ():
        password = is_chosen_by_people(match["name"])
        if is_credential(_decoded(match["value"]), password=password, strict=is_made_up(path)):
            yield f"a credential ({match['name']})", match["value"], _line(text, match.start("value"))


def _is_password(value: str, *, strict: bool) -> bool:
    return is_credential(value, password=True, strict=strict)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
