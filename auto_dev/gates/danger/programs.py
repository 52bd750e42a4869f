"""What programs do that destroys, publishes, deploys or opens something up, by their arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from auto_dev.gates.danger.act import EXTERNAL
from auto_dev.gates.danger.command import PRODUCTION, ROOTS, Command, Done, settled
from auto_dev.gates.danger.sql import acts_of


def _rm(command: Command, around: str) -> Iterator[Done]:
    for target in command.words():
        if _PRECIOUS.search(target):
            yield Done("shell.rm", target, f"deletes {target}", "it is not made again by a build")
    if not command.has("-r", "-R", "--recursive"):
        return
    for target in command.words():
        where = settled(target, around)
        if "$" in where:
            yield Done(
                "shell.rm",
                target,
                f"deletes the folder that a variable names: {target}",
                "an empty or wrong value deletes something else",
            )
        elif ROOTS.match(where):
            yield Done("shell.rm", target, f"deletes {target} with all below", "it is not made again by a build")


_PRECIOUS: Final = re.compile(
    r"\.(?:db|sqlite3?|dump|tfstate|bak|pem|rdb|mdb)$|(?:^|/)(?:pg_?data|backups?|uploads?|storage|database|migrations|\.git|\.ssh|\.aws|\.kube)(?:/\*?)?$"
)


def _find(command: Command, around: str) -> Iterator[Done]:
    words = command.words()
    deletes = "-delete" in command.args or ("-exec" in command.args and "rm" in command.args)
    narrow = any(arg in ("-name", "-iname", "-path", "-regex", "-mtime", "-mmin", "-empty") for arg in command.args)
    where = settled(words[0], around) if words else ""
    wide = where.startswith(("/", "~")) and ROOTS.match(where)
    if deletes and words and (wide or (not narrow and ("$" in where or ROOTS.match(where)))):
        yield Done("shell.rm", words[0], f"deletes what it finds below {words[0]}", "it is not made again by a build")


def _disk(command: Command, _: str) -> Iterator[Done]:
    if command.program == "dd" and not any(
        re.match(r"of=/dev/(?!null|zero|stdout|stderr)", arg) for arg in command.args
    ):
        return
    if command.program == "shred" and not command.words():
        return
    yield Done(
        "shell.device",
        command.program,
        f"overwrites a disk or file system ({command.program})",
        "what was there is lost",
    )


def _chmod(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    if words and _WORLD.fullmatch(words[0]):
        subject = words[-1] if len(words) > 1 else "a file"
        why = "every user and process of the machine may change it"
        yield Done("access.mode", subject, f"lets everybody write to {subject}", why)


_WORLD: Final = re.compile(r"0?[0-7]{2}[2367]|[ug]*[ao][ugoa]*[+=][rxX]*w[rwxX]*")


def _without_globals(command: Command) -> list[str]:
    """The words of a git command without the values of what stands before its verb: ``git -C folder push``."""
    valued = {number + 1 for number, arg in enumerate(command.args) if arg in ("-C", "-c", "--git-dir", "--work-tree")}
    return [arg for number, arg in enumerate(command.args) if number not in valued and not arg.startswith("-")]


def _git(command: Command, _: str) -> Iterator[Done]:  # noqa: C901 (one branch for each verb)
    words = _without_globals(command)
    verb = words[0] if words else ""
    rest = words[1:]
    if verb == "push":
        if command.has("-f", "--force", "--force-with-lease", "--mirror") or any(word.startswith("+") for word in rest):
            yield Done(
                "git.force_push", " ".join(rest), "pushes by force", "commits of others on that branch can be lost"
            )
        elif command.has("--delete", "-d") or any(re.match(r":\w", word) for word in rest):
            yield Done(
                "git.delete_remote",
                " ".join(rest),
                "deletes a branch or tag on the remote",
                "what only it holds is lost",
            )
    elif verb == "reset" and command.has("--hard"):
        yield Done("git.hard_reset", " ".join(rest), "resets a working copy by force", "what is not committed is lost")
    elif verb == "clean" and command.has("-f", "--force") and command.has("-d", "-x"):
        yield Done("git.clean", "", "deletes every file that is not committed", "what is not committed is lost")
    elif verb in ("checkout", "restore") and rest[-1:] == ["."] and not command.has("--staged"):
        yield Done("git.hard_reset", ".", "throws away changes that are not committed", "what is not committed is lost")
    elif verb == "stash" and rest[:1] in (["drop"], ["clear"]):
        yield Done("git.clean", "stash", "throws stashed changes away", "what is not committed is lost")
    elif verb == "branch" and command.has("-D"):
        yield Done("git.delete_branch", " ".join(rest), "deletes a branch by force", "what only it holds is lost")
    elif (verb == "update-ref" and command.has("-d")) or (verb == "tag" and command.has("-d", "-f", "--force")):
        yield Done(
            "git.delete_branch", " ".join(rest), "deletes or moves a branch or tag", "what only it holds is lost"
        )
    elif verb == "gc" and any(arg.startswith("--prune=now") for arg in command.args):
        yield Done("git.clean", "gc", "deletes what no branch reaches", "it cannot be brought back")
    elif verb in ("filter-branch", "filter-repo") or (verb == "reflog" and "expire" in rest):
        yield Done("git.rewrite", verb, "rewrites the history", "every clone has to follow")
    elif verb == "config" and re.search(r"sslverify\s+(?:false|0)", command.text, re.IGNORECASE):
        yield _TLS_OFF


def _rewritten(command: Command, _: str) -> Iterator[Done]:
    yield Done("git.rewrite", command.program, "rewrites the history", "every clone has to follow")


_TLS_OFF: Final = Done(
    "access.tls", "certificates", "does not check certificates", "anybody on the way can read and change what is sent"
)


def _transfer(command: Command, _: str) -> Iterator[Done]:
    if (command.program == "curl" and command.has("-k", "--insecure")) or command.has("--no-check-certificate"):
        yield _TLS_OFF
    if re.search(r"hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|/webhooks?/", command.text) and re.search(
        r"(?:^|\s)(?:-d|--data\S*|-X\s*POST|--request\s+POST|--json|-F|--post-data\S*)", command.text
    ):
        yield Done("external.webhook", "webhook", "calls a webhook", "others see it at once", EXTERNAL, costly=False)


def _kubectl(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    at = next((number for number, word in enumerate(words) if word in _KUBERNETES), 0)
    verb, what = (words[at] if words else ""), " ".join(words[at + 1 : at + 3])
    if verb == "delete" or (verb in ("uninstall", "delete") and command.program == "helm"):
        yield Done(
            "infrastructure.delete",
            what,
            f"deletes {what or 'resources'} in a cluster",
            "what runs or is stored there is gone",
        )
    elif verb == "scale" and any(re.fullmatch(r"--replicas=0", arg) for arg in command.args):
        yield Done("infrastructure.delete", what, f"scales {what or 'a service'} to nothing", "what runs there stops")
    elif verb in ("uninstall", "drain"):
        yield Done(
            "infrastructure.delete", what, f"{verb}s {what or 'resources'} in a cluster", "what runs there stops"
        )
    elif verb in _KUBERNETES:
        yield _deployed(command, f"changes a cluster ({command.program} {verb})")


_KUBERNETES: Final = frozenset(
    (
        "delete",
        "uninstall",
        "drain",
        "apply",
        "upgrade",
        "install",
        "rollout",
        "set",
        "scale",
        "patch",
        "replace",
        "create",
    )
)


def _terraform(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    verb = words[0] if words else ""
    if verb in ("destroy", "down") or command.has("-destroy", "--destroy"):
        yield Done(
            "infrastructure.delete",
            command.program,
            f"destroys infrastructure ({command.program} {verb})",
            "what it holds is gone",
        )
    elif verb == "state" and words[1:2] == ["rm"]:
        yield Done(
            "infrastructure.state",
            " ".join(words[2:]),
            "takes resources out of the state",
            "nobody looks after them any more",
        )
    elif verb in ("apply", "up"):
        yield _deployed(command, f"changes infrastructure ({command.program} {verb})")


def _docker(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    if words[:2] in (["volume", "rm"], ["volume", "prune"]) or (
        words[:2] == ["system", "prune"] and command.has("--volumes")
    ):
        yield Done("infrastructure.volume", " ".join(words[2:]), "deletes volumes", "the data in them is lost")
    elif (
        ("down" in words or words[:1] == ["rm"])
        and command.has("-v", "--volumes")
        and ("compose" in words or command.program == "docker-compose")
    ):
        yield Done(
            "infrastructure.volume", "", "takes the services' volumes down with them", "the data in them is lost"
        )
    elif words[1:2] == ["prune"] and command.has("-a", "--all", "-f", "--force") and words[:1] != ["builder"]:
        yield Done(
            "infrastructure.volume",
            words[0],
            f"deletes what docker keeps ({words[0]} prune)",
            "what is not used right now is lost",
        )
    elif words[:1] == ["push"]:
        yield Done(
            "external.publish", " ".join(words[1:2]), "publishes an image", "others may take it at once", EXTERNAL
        )


def _database(command: Command, _: str) -> Iterator[Done]:
    if drops := _DROPS.search(command.text):
        word = drops[0].lower()
        yield Done("data.drop_database", word, f"empties or drops a database ({word})", "its data is lost")
    for statement in command.args if command.program in _SQL_CLIENTS else ():
        yield from (Done(act.rule, act.subject, act.title, act.why) for act in acts_of(statement))


_DROPS: Final = re.compile(
    r"\b(?:flushall|flushdb|dropdatabase|db:drop|db:reset|db:wipe|migrate:(?:fresh|refresh|reset)|pg:reset|drop-all|reset_db"
    r"|drop_database)\b|^dropdb\b|^mysqladmin\b.{0,200}\bdrop\b|migrate reset|--accept-data-loss|--force-reset"
    r"|schema:drop|ecto\.(?:drop|reset)|db:schema:load|migrate:rollback --all|downgrade base|\bmigrate \S+ zero\b|drizzle-kit drop|goose (?:reset|down-to 0)"
    r"|^migrate\b.{0,200}\b(?:drop|down -all)\b|^dbmate drop|sqlflush|dropdb|db drop|drop-database"
    r"|database drop|manage\.py flush|^flyway\b.{0,200}\bclean\b|^django-admin flush|^supabase db reset",
    re.IGNORECASE,
)
_SQL_CLIENTS: Final = frozenset(("psql", "mysql", "mariadb", "sqlite3", "sqlcmd", "clickhouse-client"))


def _cloud(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    text = " ".join(words)
    deletes = re.search(
        r"(?:^| )(?:delete|destroy|purge|rb|terminate-instances|delete-[\w-]+|schedule-key-deletion)(?: |$)", text
    )
    empties = (
        command.program in ("aws", "gsutil", "gcloud", "rclone")
        and re.search(r"(?:^| )rm(?: |$)", text)
        and (command.has("--recursive", "-r", "-R"))
    )
    if deletes or empties:
        yield Done(
            "infrastructure.delete",
            text[:80],
            f"deletes in the cloud ({command.program} {text[:40]})",
            "what it holds is gone",
        )
    elif command.has("--delete") and "sync" in words:
        yield Done(
            "infrastructure.delete",
            text[:80],
            f"deletes what the source has not ({command.program} sync)",
            "what it holds is gone",
        )
    elif re.search(r"(?:^| )(?:deploy|update-service|run deploy|create-deployment)(?: |$)", text):
        yield _deployed(command, f"deploys ({command.program})")


def _publish(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    if words[:1] in (["unpublish"], ["yank"]):
        yield Done(
            "external.unpublish", " ".join(words[1:2]), "takes a published package back", "whoever depends on it breaks"
        )
    elif (
        words[:1] in (["publish"], ["upload"])
        or words[:2] in (["npm", "publish"], ["release", "create"])
        or command.text.startswith(("gem push", "mvn deploy"))
    ) and not command.has("--dry-run", "-n"):
        yield Done(
            "external.publish",
            command.program,
            f"publishes ({command.program} {' '.join(words[:2])})",
            "a version once published cannot be taken back",
            EXTERNAL,
        )


def _deploy(command: Command, _: str) -> Iterator[Done]:
    words = command.words()
    if command.program in ("ansible-playbook", "cap") or "deploy" in words or command.has("--prod"):
        yield _deployed(command, f"deploys ({command.program})")


def _deployed(command: Command, title: str) -> Done:
    production = command.has("--prod") or any(PRODUCTION.search(arg) for arg in command.args)
    if production:
        return Done("production.change", command.program, f"{title}, in production", "users feel it at once")
    return Done("external.deploy", command.program, title, "others feel it at once", EXTERNAL)


def _mail(_command: Command, _: str) -> Iterator[Done]:
    yield Done("external.mail", "mail", "sends mail", "what is sent cannot be taken back", EXTERNAL, costly=False)


def _open(command: Command, _: str) -> Iterator[Done]:
    text = command.text
    if re.search(r"StrictHostKeyChecking[= ]no|strict-ssl[= ]false|--trusted-host", text):
        yield _TLS_OFF
    if re.search(r"^iptables (?:-F|--flush)|^ufw disable|^setenforce 0|^userdel\b", text):
        yield Done("access.guard", text[:60], f"takes a guard down ({text[:40]})", "the machine is open after it")


def _swept(command: Command, around: str) -> Iterator[Done]:
    """Programs that delete or stop by the whole."""
    text, words = command.text, command.words()
    program = command.program
    if program == "rsync" and any(arg.startswith("--delete") for arg in command.args):
        yield Done(
            "shell.rm", text[:60], "deletes what the source has not (rsync --delete)", "it is not made again by a build"
        )
    elif program == "rimraf" and any(
        "$" in settled(word, around) or ROOTS.match(settled(word, around)) for word in words
    ):
        yield Done("shell.rm", text[:60], f"deletes {text[7:60]} with all below", "it is not made again by a build")
    elif program == "crontab" and command.has("-r"):
        yield Done("shell.rm", "crontab", "removes the crontab", "what ran by it runs no more")
    elif program in ("killall", "pkill") or (program == "kill" and command.has("-1") and "-9" in command.args):
        yield Done("shell.kill", text[:60], f"ends processes by name ({text[:40]})", "it may be somebody else's")
    elif program == "systemctl" and words[:1] in (["stop"], ["disable"], ["mask"]):
        yield Done("infrastructure.delete", text[:60], f"stops a service ({text[:40]})", "what it served is gone")
    elif program in ("reboot", "shutdown", "halt", "poweroff"):
        yield Done("infrastructure.delete", program, "stops the machine", "what runs there stops")
    elif program == "truncate" and re.search(r"(?:-s\s*0|--size=0)\b", text):
        yield Done("data.empty", text[:60], f"empties a file ({text[:40]})", "what it held is lost")


def _secrets(command: Command, _: str) -> Iterator[Done]:
    if _STORED.search(command.text):
        title = f"changes stored credentials ({command.text[:40]})"
        yield Done("credentials.change", command.text[:60], title, "what uses them may stop, or let others in")


_STORED: Final = re.compile(
    r"^vault (?:kv )?(?:delete|destroy)|^gh secret (?:set|delete|remove)|^gcloud secrets (?:delete|versions)"
    r"|^aws secretsmanager (?:delete|put|update|rotate)"
)

Rule = Callable[[Command, str], Iterator[Done]]


def _table(*rows: tuple[str, Sequence[Rule]]) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, tuple[Rule, ...]] = {}
    for names, rules in rows:
        for name in names.split():
            found[name] = (*found.get(name, ()), *rules)
    return found


_CLIENTS: Final = (
    "psql mysql mariadb sqlite3 sqlcmd clickhouse-client dropdb mysqladmin redis-cli mongo mongosh rails rake npx prisma"
    " python python3 manage.py django-admin sequelize knex artisan php flyway liquibase dotnet heroku supabase pnpm yarn"
    " npm bundle uv poetry mix alembic typeorm drizzle-kit goose migrate dbmate bun deno sqlalchemy-utils"
)
BY_PROGRAM: Final = _table(
    ("rm", [_rm]),
    ("find", [_find]),
    ("mkfs mkfs.ext4 mkfs.xfs mkfs.btrfs wipefs fdisk parted dd shred", [_disk]),
    ("chmod", [_chmod]),
    ("git", [_git]),
    ("bfg git-filter-repo", [_rewritten]),
    ("curl wget", [_transfer]),
    ("kubectl helm oc", [_kubectl]),
    ("terraform tofu terragrunt pulumi", [_terraform]),
    ("docker podman docker-compose", [_docker]),
    (_CLIENTS, [_database]),
    ("aws gcloud az gsutil doctl fly flyctl rclone", [_cloud]),
    ("npm pnpm yarn twine uv poetry cargo gem mvn gh goreleaser hatch flit changeset", [_publish]),
    ("vercel netlify serverless sls cdk sam eb cap ansible-playbook wrangler firebase fly flyctl", [_deploy]),
    ("mail mailx sendmail mutt msmtp", [_mail]),
    ("ssh scp npm pip pip3 iptables ufw setenforce userdel", [_open]),
    ("vault gh aws gcloud", [_secrets]),
    ("rsync rimraf crontab killall pkill kill systemctl reboot shutdown halt poweroff truncate", [_swept]),
)
