"""What code itself would do when it runs: delete data by the whole, act outside, be careless with credentials. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from auto_dev.gates.danger.act import EXTERNAL, Act
from auto_dev.gates.danger.command import Done
from auto_dev.gates.danger.shell import done_by
from auto_dev.gates.danger.sql import Known, acts_of
from auto_dev.gates.danger.view import View, code_of

_LOST: Final = "what it holds is lost"
_DELETES: Final = tuple(
    (re.compile(pattern), title)
    for title, patterns in (
        ("deletes all records of a kind", (
            r"(?P<what>[\w)]+)\.objects\.all\(\)\.(?:_raw_)?delete\(", r"\b(?P<what>\w+)\.query\.delete\(\)", r"\bquery\((?P<what>[\w.]+)\)\.delete\(",
            r"(?P<what>[\w.]+)\.deleteMany\(\s*(?:\{\s*\})?\s*\)", r"(?P<what>[\w.]+)\.delete_many\(\s*\{\s*\}",
            r"\b(?P<what>[A-Z]\w*)\.(?:destroy_all|delete_all)\b", r"\b(?P<what>[A-Z]\w*)(?:::|\.)truncate\(", r"\b(?P<what>\w+)\.destroy\(\s*\{[^}\n]*truncate\s*:\s*true",
            r"\bdelete\((?P<what>[A-Z]\w*)\)\s*\)\s*$",
        )),
        ("drops a database, a table or a collection", (
            r"(?P<what>[\w.]*(?:metadata|Base\w*|db))\.drop_all\(", r"(?P<what>[\w.]+)\.dropDatabase\(", r"(?P<what>[\w.]+)\.drop_database\(", r"\bdb\.(?P<what>\w+)\.drop\(\s*\)",
            r"\bcollection\(\s*[\"'](?P<what>\w+)[\"']\s*\)\.drop\(", r"(?P<what>\w+)\.sync\(\s*\{\s*force\s*:\s*true", r"\bdrop_table\((?P<what>[^)\n]*)\)",
        )),
        ("empties a store", (
            r"\b(?P<what>\w+)\.flush(?:all|db|All|DB)\(", r"\b(?P<what>[\w.]*)(?:delete_bucket|deleteBucket|DeleteBucket)\b", r"(?P<what>\w+)\.indices\.delete\(",
            r"(?P<what>\w+)\.(?:delete_table|deleteTable|DeleteTable|delete_topic|deleteTopics)\(", r"\bsend\(new (?P<what>Delete(?:Bucket|Table|DBInstance|DBCluster)Command)",
        )),
        ("deletes a folder outside", (
            r"\brmtree\(\s*(?P<what>[\"']/[^\"']*[\"']|Path\.home\(\)|os\.path\.expanduser\([^)]*\)|os\.environ\[[^\]]*\]|os\.getcwd\(\)|Path\(\s*\"/)",
            r"\brm(?:Sync)?\(\s*(?P<what>[\"'`](?:/|~)[^\"'`]*[\"'`]|os\.homedir\(\)|process\.env\.\w+|process\.cwd\(\))\s*,\s*\{[^}\n]*recursive", r"\bRemoveAll\(\s*(?P<what>\"/[^\"]*\"|os\.Getenv\([^)]*\))",
        )),
    )
    for pattern in patterns
)  # fmt: skip
# Deleting the folder that a variable names; what is made to be thrown away is told by its name or by who made it.
_TREE: Final = re.compile(
    r"\b(?:rmtree|RemoveAll|remove_dir_all|rimraf|FileUtils\.rm_rf|deleteDirectory|emptyDir\w*|fs\.removeSync)\(\s*(?P<what>[^\n]{1,120})"
    r"|\brm(?:Sync|dir|dirSync)?\(\s*(?P<node>[^\n{]{1,120})\{[^}\n]*recursive\s*:\s*true"
)
_PASSING: Final = re.compile(
    r"(?i)te?mp|cache|build|dist\b|dist_|out(?:put|dir|_dir)?\b|work|scratch|stag|generat|target|coverage|node_modules|sandbox|clone|checkout|artifact|venv|test|fixture|preview|bundle|download"
)
_MADE_HERE: Final = re.compile(r"mkdtemp|TemporaryDirectory|MkdirTemp|TempDir|tempfile|os\.tmpdir|tmpdir\(|tempdir")
_HARMLESS_PLACE: Final = re.compile(r"[\"'`]/(?:tmp|var/tmp)/")
_DEFINED: Final = re.compile(r"(?:\b(?:def|function|func|fn|import|from|use)\s+|\)\s*)$")
_SQL_CALL: Final = re.compile(
    r"\b(?:execute(?:many|script)?|executeSql|exec(?:ute_sql)?|Exec(?:Context)?|query(?:_raw|Raw)?|Query(?:Context)?|raw|text|sql|Sql|prepare|Prepare|run|"
    r"\$executeRaw(?:Unsafe)?|\$queryRaw(?:Unsafe)?|createNativeQuery|statement|unsafe)\s*[(`]\s*(?:\w+\s*,\s*)?(?:[fr]{0,2})?(?P<quote>\"\"\"|'''|[\"'`])?(?P<text>[^\n]{6,400})",
)
_STRING_SQL: Final = re.compile(
    r"(?P<quote>[\"'`])(?P<text>\s*(?:DROP (?:TABLE|DATABASE|SCHEMA)|TRUNCATE(?: TABLE)?|DELETE FROM|ALTER TABLE) [^\"'`\n]{1,300})"
)
_RUNS: Final = re.compile(
    r"\b(?:os\.system|os\.popen|subprocess\.\w+|check_call|check_output|Popen|execSync|execFileSync|execFile|spawnSync|spawn|execa\w*|"
    r"shell_exec|exec\.Command(?:Context)?|Command::new|ProcessBuilder|Runtime\.getRuntime\(\)\.exec|shell\.exec|sh|run|\$)\s*[(`]\s*(?P<args>.{3,400})"
)
_ARGUMENT: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|`([^`]*)`|([A-Za-z_][\w.]*(?:\([^()]*\))?)")

_EXTERNAL: Final = tuple(
    (rule, re.compile(pattern), title, why, costly, re.compile(asked, re.IGNORECASE))
    for rule, title, why, costly, asked, pattern in (
        ("external.payment", "moves money", "a payment cannot simply be taken back", True, r"pay|charge|refund|checkout|stripe|billing|subscri|invoice",
         r"stripe\.(?:\w+\.)*(?:Charge|PaymentIntent|Refund|Payout|Transfer|charges|paymentIntents|refunds|payouts|transfers|checkout|subscriptions)\b[\w.]*\.create|paymentintent\.New\(|charge\.New\(|Stripe::(?:Charge|PaymentIntent|Refund)\.create|(?:braintree|gateway)\.transaction\.sale|paypal\w*\.(?:payments?|orders?)\w*\.(?:create|capture)"),
        ("external.mail", "sends mail", "what is sent cannot be taken back", False, r"e-?mail|notif|smtp|newsletter|invit|messag|remind|digest|alert",
         r"\bsmtplib\.SMTP|\bsend_mail\(|\bsend_mass_mail\(|EmailMessage\([^)]*\)\.send\(|\bSendGridAPIClient\(|\bsgMail\.send\(|nodemailer\.createTransport|\.sendMail\(|\bses\w*\.send_?(?:raw_?)?[eE]mail\(|SendEmailCommand|smtp\.SendMail\(|\.deliver_(?:now|later)\b|Mail::(?:to|send)|resend\.emails\.send|\baiosmtplib\.send\("),
        ("external.message", "sends messages to people's phones", "what is sent cannot be taken back", False, r"sms|whats|push|notif|messag|twilio|phone|call",
         r"twilio\w*\.messages\.create|client\.messages\.create\(\s*(?:to|\{\s*to|body)|sns\w*\.publish\([^)]*PhoneNumber"),
        ("external.webhook", "calls a webhook", "others see it at once", False, r"webhook|slack|discord|teams|notif|callback|hook|alert",
         r"hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks|\b(?:post|fetch|Post)\(\s*[\w.]*[wW]eb_?[hH]ook_?(?:[uU][rR][lL])?\b|IncomingWebhook\("),
    )
)  # fmt: skip

_NAMED: Final = r"(?:password|passwd|passphrase|secret(?:_?key)?|api_?key|access_?token|auth_?token|refresh_?token|private_?key|credit_?card|card_?number|ssn)"
_LOGGED: Final = re.compile(
    rf"(?i)\b(?:log(?:ger|ging)?|console|LOG|slog|zap|tracing)\b(?:\.\w+|!)?\s*[.(][^\n]*?(?:[({{,]\s*|\.|\+\s*|\$\{{\s*)(?:[\w.]*[._])?{_NAMED}\b(?!\s*(?:[=(:]|is\b|\[))"
    rf"|\bprint(?:ln|f)?!?\([^\n]*?(?:[({{,]\s*|\.|\+\s*)(?:[\w.]*[._])?{_NAMED}\b(?!\s*[=(:\[])"
)
_MASKED: Final = re.compile(r"(?i)mask|redact|\*\*\*|len\(|length|bool\(|hash|is not none|!= ?null|\bset\b.*\?")
_WEAK: Final = re.compile(
    r"(?i)(?:hashlib\.)?\b(?:md5|sha1|sha256|sha512)\s*\(\s*[^)\n]*\bpass(?:word|wd|phrase)\b|createHash\(\s*[\"'](?:md5|sha1|sha256|sha512)[\"']\s*\)\s*\.update\(\s*[^)\n]*pass(?:word|wd)|"
    r"(?:md5|sha1|sha256)\.Sum\w*\(\s*\[\]byte\(\s*[^)\n]*pass(?:word|wd)"
)
_KEPT: Final = re.compile(r"(?i)\b(?:localStorage|sessionStorage)\.setItem\([^)\n]*(?:token|jwt|password|secret)")
_HASHING: Final = re.compile(
    r"(?i)\b(?:bcrypt|argon2\w*|scrypt|pbkdf2\w*|make_password|check_password(?:_hash)?|generate_password_hash|password_hash|password_verify|PasswordHasher|compare_digest|timingSafeEqual)\b"
)

_MAKE_VARIABLE: Final = re.compile(r"\$\((\w+)\)")
_SQL_ROW: Final = re.compile(r"^\s*(?:DROP|TRUNCATE|DELETE\s+FROM|ALTER\s+TABLE|UPDATE)\s+\S", re.IGNORECASE)
_PIPED: Final = re.compile(r"\|\s*(?:sudo\s+)?(?:psql|mysql|mariadb|sqlite3|docker|kubectl)\b|<<<")
_CLIENT_FIRST: Final = re.compile(r"^\s*(?:psql|mysql|mariadb|sqlite3)\b")
_STOPS: Final = re.compile(
    r"\bexit\s+[1-9]|\bread\s+-|\|\|\s*(?:exit|return|die)\b|\$\{\w+:\?|\bconfirm\b|--dry-run\b|--interactive\b|^set -[a-z]*[eu]",
    re.IGNORECASE,
)


def code_acts(view: View, known: Known, story: str) -> Iterator[Act]:
    """What the new lines of a file do. ``story``: its words; an external effect that it asks for is no surprise."""
    for number, row in view.new_rows():
        yield from deletions(view, number, row)
        yield from _careless(view, number, row)
        yield from _outside(view, number, row, story)
        yield from _commands(view, number, row)
        if view.ending != ".sql" and not view.is_script:
            yield from _statements(view, number, row, known)
    yield from _hashing(view)


def shell_acts(view: View, known: Known) -> Iterator[Act]:
    """What the new commands of a script do."""
    around = _MAKE_VARIABLE.sub(r"${\1}", view.code) if _is_make(view) else view.code
    for number, row in view.new_rows():
        text = row.strip().lstrip("@-") if not view.ending or _is_make(view) else row
        text = _MAKE_VARIABLE.sub(r"${\1}", text) if _is_make(view) else text
        for done in done_by(_joined(view, number, text), around):
            yield _placed(done, view, number)
        if _SQL_ROW.match(row) or (_PIPED.search(row) and not _CLIENT_FIRST.match(row)):
            for part in (row, *re.findall(r"[\"']([^\"'\n]{6,400})[\"']", row)):
                for act in acts_of(part, known, around):
                    yield Act(act.rule, act.subject, act.title, act.why, view.path, number, view.shown(number))
    yield from _unguarded(view)


def _is_make(view: View) -> bool:
    return view.ending == ".mk" or "makefile" in view.name


def _unguarded(view: View) -> Iterator[Act]:
    """A script that destroys and that stopped itself in more cases before."""
    if view.before is None or view.after is None:
        return
    old = [" ".join(row.split()) for row in code_of(view.old_path or view.path, view.before).split("\n")]
    now = [" ".join(row.split()) for row in view.rows]
    gone = [row for row in old if _STOPS.search(row) and row not in now]
    came = [row for row in now if _STOPS.search(row) and row not in old]
    if len(gone) > len(came) and any(done.tier == 4 for row in view.rows for done in done_by(row, "")):
        title = "takes away what held a script back that destroys or deploys"
        yield Act("shell.guard", f"{view.path}:{gone[0][:80]}", title, _LOST, view.path, 1, f"- {gone[0][:200]}")


def _joined(view: View, number: int, text: str) -> str:
    while text.endswith("\\") and number < len(view.rows):
        text = text[:-1] + " " + view.rows[number]
        number += 1
    return text


def _placed(done: Done, view: View, number: int) -> Act:
    return Act(
        done.rule, done.subject, done.title, done.why, view.path, number, view.shown(number), done.tier, done.costly
    )


def deletions(view: View, number: int, row: str) -> Iterator[Act]:
    """What a line deletes by the whole."""
    for pattern, title in _DELETES:
        match = pattern.search(row)
        if match and not _HARMLESS_PLACE.search(row):
            what = match["what"].strip("\"'`")
            yield Act("data.empty", what, f"{title}: {what[:60]}", _LOST, view.path, number, view.shown(number))
            return
    match = _TREE.search(row)
    if match is None or _DEFINED.search(row[: match.start()]) or _MADE_HERE.search(view.code):
        return
    what = (match["what"] or match["node"]).strip()
    named = re.match(r"[\"'`]", what) is None or re.match(
        r"[\"'`](?:\./)?(?:data|uploads?|storage|backups?|db|media|var)\b", what
    )
    if named and not _PASSING.search(what) and not _PASSING.search(view.name):
        what = re.split(r"[,)]", what)[0][:60]
        yield Act(
            "shell.rm", what, f"deletes a folder with all below: {what}", _LOST, view.path, number, view.shown(number)
        )


def _careless(view: View, number: int, row: str) -> Iterator[Act]:
    why = "whoever reads it there can use it"
    if _LOGGED.search(row) and not _MASKED.search(row):
        yield Act(
            "credentials.logged",
            f"{view.path}:{row.strip()[:60]}",
            "writes a credential to a log",
            why,
            view.path,
            number,
            view.shown(number),
        )
    elif _WEAK.search(row):
        title = "hashes passwords in a way that is quick to guess"
        yield Act(
            "credentials.hash",
            view.path,
            title,
            "a stolen table gives them away",
            view.path,
            number,
            view.shown(number),
        )
    elif _KEPT.search(row):
        title = "keeps a token where every script of the page can read it"
        yield Act("credentials.kept", view.path, title, why, view.path, number, view.shown(number))


def _hashing(view: View) -> Iterator[Act]:
    """Passwords that were hashed or compared with care, and are not any more."""
    if view.before is None or view.after is None:
        return
    if _HASHING.search(view.before) and not _HASHING.search(view.code) and re.search(r"(?i)password", view.code):
        title = "passwords are no longer hashed or compared as before"
        yield Act("credentials.hash", view.path, title, "a stolen table gives them away", view.path, 1)


def _outside(view: View, number: int, row: str, story: str) -> Iterator[Act]:
    for rule, pattern, title, why, costly, asked in _EXTERNAL:
        if pattern.search(row) and not pattern.search(view.before or "") and not asked.search(story):
            yield Act(rule, view.path, title, why, view.path, number, view.shown(number), EXTERNAL, costly)


def _commands(view: View, number: int, row: str) -> Iterator[Act]:
    if view.is_script or view.ending == ".sql":
        return
    if view.name.startswith("dockerfile"):
        text = _command_in(re.sub(r"^\s*(?:RUN|CMD|ENTRYPOINT)\s+", "", row))
        yield from (_placed(d, view, number) for d in done_by(text) if d.rule not in ("shell.rm", "access.mode"))
    elif view.ending in (".yml", ".yaml"):
        text = re.sub(r"^\s*-?\s*(?:(?:run|script|command|cmd|shell|entrypoint)\s*:\s*[|>]?)?\s*", "", row)
        yield from (_placed(d, view, number) for d in done_by(_command_in(text), view.code))
    elif view.name == "package.json":
        if match := re.match(r"\s*\"[\w:.-]+\"\s*:\s*\"(.*)\",?\s*$", row):
            text = match[1].replace('\\"', '"')
            yield from (_placed(d, view, number) for d in done_by(text) if d.tier != EXTERNAL)
    elif match := _RUNS.search(row):
        yield from (_placed(d, view, number) for d in done_by(_as_command(match["args"])))


def _command_in(text: str) -> str:
    """A command of a settings file without the quotes around all of it, and a list of words as one."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        words = re.findall(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([\w./-]+)", text[1:-1])
        return " ".join(f"'{one}'" if " " in one else one for one in (a or b or c for a, b, c in words))
    whole = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2
    return text[1:-1] if whole else text


def _as_command(args: str) -> str:
    """The arguments of a call as a command's words: texts as they are, anything else as a variable."""
    first = re.match(r"\[?\s*[f]?[\"'`]([^\"'`]*\s[^\"'`]*)[\"'`]", args)
    if first:
        text = re.sub(r"\$?\{(\w+)[^}]*\}", r"$\1", first[1])  # one text: a whole command line
        more = re.match(r"\s*\+\s*([A-Za-z_][\w.]*)", args[first.end() :])
        return text + "$" + re.sub(r"\W", "_", more[1]) if more else text
    words = []
    for double, single, tick, name in _ARGUMENT.findall(args):
        if name in (
            "check",
            "cwd",
            "env",
            "shell",
            "stdio",
            "capture_output",
            "text",
            "ctx",
            "True",
            "False",
            "context",
        ):
            if name not in ("ctx", "context"):
                break
            continue
        words.append(double or single or tick or "$" + re.sub(r"\W", "_", name))
    return " ".join(words)


def _statements(view: View, number: int, row: str, known: Known) -> Iterator[Act]:
    match = _SQL_CALL.search(row) or _STRING_SQL.search(row)
    if match is None:
        return
    text = match["text"]
    quote = match["quote"] or ""
    if quote and quote in text:
        rest = text[text.index(quote) + len(quote) :]
        text = text[: text.index(quote)]
        if re.search(r"(?i)\bwhere\b", rest) or rest.lstrip().startswith(("+", ".", "%")):
            return  # it goes on elsewhere
    following = " ".join(view.rows[number : number + 3])
    if re.match(r"\s*DELETE\b", text, re.IGNORECASE) and re.search(r"(?i)\bwhere\b", following):
        return
    for act in acts_of(text, known, view.code):
        yield Act(act.rule, act.subject, act.title, act.why, view.path, number, view.shown(number))
