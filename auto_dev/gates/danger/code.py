"""What code itself would do when it runs: delete data by the whole, act outside, be careless with credentials. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from auto_dev.gates.danger.act import EXTERNAL, Act
from auto_dev.gates.danger.shell import Done, done_by
from auto_dev.gates.danger.sql import Known, acts_of
from auto_dev.gates.danger.view import View, is_script

_LOST: Final = "what it holds is lost"
_DELETES: Final = tuple(
    (re.compile(pattern), title)
    for title, patterns in (
        ("deletes all records of a kind", (
            r"\b(?P<what>\w+)\.objects\.all\(\)\.delete\(", r"\b(?P<what>\w+)\.query\.delete\(\)", r"\bquery\((?P<what>[\w.]+)\)\.delete\(",
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
_HARMLESS_PLACE: Final = re.compile(r"[\"'`]/(?:tmp|var/tmp)/")
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


def code_acts(view: View, known: Known, story: str) -> Iterator[Act]:
    """What the new lines of a file do. ``story``: its words; an external effect that it asks for is no surprise."""
    for number, row in view.new_rows():
        yield from deletions(view, number, row)
        yield from _careless(view, number, row)
        yield from _outside(view, number, row, story)
        yield from _commands(view, number, row)
        if view.ending != ".sql" and not is_script(view.path):
            yield from _statements(view, number, row, known)
    yield from _hashing(view)


def shell_acts(view: View) -> Iterator[Act]:
    """What the new commands of a script do."""
    around = view.code
    for number, row in view.new_rows():
        text = row.strip().lstrip("@-") if not view.ending else row
        for done in done_by(_joined(view, number, text), around):
            yield _placed(done, view, number)


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
    if is_script(view.path) or view.ending == ".sql":
        return
    if view.name.startswith("dockerfile"):
        text = re.sub(r"^\s*(?:RUN|CMD|ENTRYPOINT)\s+", "", row)
        yield from (_placed(d, view, number) for d in done_by(text) if d.rule not in ("shell.rm", "access.mode"))
    elif view.ending in (".yml", ".yaml"):
        text = re.sub(r"^\s*-?\s*(?:(?:run|script|command|cmd|shell|entrypoint)\s*:\s*[|>]?)?\s*", "", row)
        yield from (_placed(d, view, number) for d in done_by(text.strip("\"'"), view.code))
    elif view.name == "package.json":
        if match := re.match(r"\s*\"[\w:.-]+\"\s*:\s*\"(.*)\",?\s*$", row):
            yield from (_placed(d, view, number) for d in done_by(match[1]) if d.tier != EXTERNAL)
    elif match := _RUNS.search(row):
        yield from (_placed(d, view, number) for d in done_by(_as_command(match["args"])))


def _as_command(args: str) -> str:
    """The arguments of a call as a command's words: texts as they are, anything else as a variable."""
    first = re.match(r"\[?\s*[f]?[\"'`]([^\"'`]*\s[^\"'`]*)[\"'`]", args)
    if first:
        return re.sub(r"\$?\{(\w+)[^}]*\}", r"$\1", first[1])  # one text: a whole command line
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
