"""The commands in a text of a shell: program and arguments, as far as they can be told without running them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_SEPARATOR: Final = re.compile(r"\|\||&&|[;|&\n]|\$\(|`|\bthen\b|\bdo\b|\belse\b")
_TOKEN: Final = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_ASSIGNMENT: Final = re.compile(r"^[A-Za-z_]\w*=")
_BEFORE: Final = frozenset(
    ("sudo", "doas", "time", "nohup", "nice", "exec", "command", "env", "xargs", "if", "while", "!")
)
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
_GUARDED: Final = re.compile(r"\$\{\w+:(?:\?[^}]*|[-=](?![/~$.}])[^}]*)\}")
_SET: Final = re.compile(
    r"""(?m)^[ \t]*(?:export |local |readonly |declare (?:-\w+ )?)?([A-Za-z_]\w*)\s*[:?]?="""
    r"""\s*("[^"\n]*"|'[^'\n]*'|[^\s#;]*)"""
)
ROOTS: Final = re.compile(
    r"^(?:/|/\*|~/?\*?|\.\./?\*?|\*|\.|\./?\*?|\.git/?)$"
    r"|^/(?!var/(?:lib/apt|cache|tmp)/|usr/share/(?:doc|man|locale))"
    r"(?:etc|usr|var|home|opt|srv|data|mnt|boot|root|lib|bin)(?:/[\w.@-]+){0,3}/?\*?$"
)
PRODUCTION: Final = re.compile(r"(?:^|[-_./:=@])prod(?:uction)?(?:$|[-_./:=@\d])|^live$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Done:
    """What a command does. ``subject``: to what, as far as its arguments tell."""

    rule: str
    subject: str
    title: str
    why: str
    tier: int = 4
    costly: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, quotes taken off. ``text`` is all of it."""

    program: str
    args: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join((self.program, *self.args))

    def has(self, *flags: str) -> bool:
        """Whether one of ``flags`` is given; a letter also inside a cluster such as ``-rf``."""
        for arg in self.args:
            for flag in flags:
                if arg == flag or (flag.startswith("--") and arg.startswith(flag + "=")):
                    return True
                if len(flag) == 2 and re.fullmatch(r"-[A-Za-z]+", arg) and flag[1] in arg:
                    return True
        return False

    def words(self) -> list[str]:
        """The arguments that are no options."""
        return [arg for arg in self.args if not arg.startswith("-")]

    def says(self, *words: str) -> bool:
        """Whether the arguments that are no options begin with ``words``."""
        return self.words()[: len(words)] == list(words)


# What separates commands separates none in quotes; it is hidden there while commands are told apart.
_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", re.DOTALL)
_HIDDEN: Final = {ord(mark): 0xE000 + number for number, mark in enumerate(";|&\n")}
_SHOWN: Final = {there: chr(here) for here, there in _HIDDEN.items()} | {0xE010: ""}


def _hidden(match: re.Match[str]) -> str:
    return re.sub(r"\b(?:then|do|else)\b", lambda word: f"{word[0][0]}\ue010{word[0][1:]}", match[0].translate(_HIDDEN))


def commands(text: str) -> Iterator[Command]:
    """The simple commands in ``text``."""
    for part in _SEPARATOR.split(_QUOTED.sub(_hidden, re.sub(r"\\\n", " ", text))):
        tokens = [_unquoted(token).translate(_SHOWN) for token in _TOKEN.findall(part)]
        while tokens and (
            _ASSIGNMENT.match(tokens[0]) or tokens[0].rsplit("/", 1)[-1] in _BEFORE or tokens[0] in "@-(+"
        ):
            tokens.pop(0)
            while tokens and tokens[0].startswith("-") and len(tokens) > 1:
                tokens.pop(0)  # the options of sudo and xargs
        if tokens:
            program = tokens[0].lstrip("@-(").rsplit("/", 1)[-1]
            yield Command(
                program,
                tuple(token.rstrip(")") if ")" in token and "(" not in token else token for token in tokens[1:]),
            )


def joined(args: Sequence[str]) -> str:
    return " ".join(f"'{arg}'" if re.search(r"[\s;|&]", arg) and "'" not in arg else arg for arg in args)


def _unquoted(token: str) -> str:
    if len(token) > 1 and token[0] == token[-1] and token[0] in "\"'":
        return token[1:-1]
    return token.replace('"', "").replace("'", "")


def settled(target: str, around: str) -> str:
    """``target`` with its variables replaced by what the script sets them to, when that is something harmless."""
    target = _GUARDED.sub("guarded", target)
    values: dict[str, str] = dict(_SET.findall(around))

    def value(match: re.Match[str]) -> str:
        given = values.get(match[1], "").strip("\"'")
        if "mktemp" in given or given.startswith("/tmp/"):  # noqa: S108
            return "set"
        if given and not given.startswith(("/", "~", "$", "..")):
            return given
        if given.startswith(("$HOME", "${HOME")):
            return match[0]
        if given.startswith("$(mktemp") or re.match(r"\$\{?\w+\}?/[\w.]", given) or _GUARDED.search(given):
            return "set"
        return match[0]

    return _VARIABLE.sub(value, target)
