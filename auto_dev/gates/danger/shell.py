"""Commands of a shell that destroy, publish, deploy or open something up, also those that another command runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auto_dev.gates.danger.command import Command, Done, commands, joined
from auto_dev.gates.danger.programs import BY_PROGRAM


def done_by(text: str, around: str = "") -> Iterator[Done]:
    """What the commands in ``text`` do that a person must decide about. ``around``: the script that they stand in."""
    for command in commands(text):
        if inner := _wrapped(command):
            yield from done_by(inner, around)
        for rule in BY_PROGRAM.get(command.program, ()):
            yield from rule(command, around)
    if re.search(r"\brm\s+-\w*[rR]\w*\s+[^\n;|&]*(?:\$\((?!mktemp)|`)", text):
        yield Done(
            "shell.rm",
            text.strip()[:60],
            "deletes the folder that a command names",
            "a wrong answer deletes something else",
        )
    if found := re.search(r">\s*/dev/(?:sd|nvme|disk)\w*", text):
        yield Done("shell.device", found[0], "writes to a disk itself", "everything on it is lost")


def _wrapped(command: Command) -> str:
    """The command that a command runs: ``sh -c "…"``, ``ssh host "…"``, ``docker exec x …``."""
    args = list(command.args)
    program = command.program
    if (
        program in ("sh", "bash", "zsh", "dash", "su", "ash")
        and (at := next((n for n, a in enumerate(args) if re.fullmatch(r"-\w*c", a)), None)) is not None
    ):
        return " ".join(args[at + 1 :])
    if program == "eval":
        return " ".join(args)
    if program in ("timeout", "watch", "flock", "chroot", "runuser", "gosu", "stdbuf") and len(args) > 1:
        return joined(
            args[
                next((n for n, a in enumerate(args) if not a.startswith("-")), 0)
                + (program not in ("watch", "stdbuf")) :
            ]
        )
    if program == "ssh":
        at = next(
            (
                n
                for n, a in enumerate(args)
                if not a.startswith("-") and (n == 0 or args[n - 1] not in ("-i", "-p", "-o", "-l", "-F", "-J"))
            ),
            len(args),
        )
        return " ".join(args[at + 1 :])
    if program in ("docker", "podman", "kubectl", "docker-compose", "heroku", "fly", "flyctl") and {
        "exec",
        "run",
    } & set(args[:3]):
        at = next(n for n, a in enumerate(args) if a in ("exec", "run"))
        rest = args[at + 1 :]
        if "--" in rest:
            return joined(rest[rest.index("--") + 1 :])
        places = [n for n, a in enumerate(rest) if a in BY_PROGRAM or a in ("sh", "bash")]
        return joined(rest[places[0] :]) if places else ""
    return ""
