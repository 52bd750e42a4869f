"""What the agent says and asks, what others did meanwhile, and runs that did nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.corpus.case import CONFIDENCE, CRITICAL, EMPTY, INTEGRATION, QUESTIONS, Cases, asks, stops
from bench.corpus.tree import Edit, append, cut, delete, edit, everywhere, mode, move, write

PY, JS, TS, GO = Cases("ledger"), Cases("depot"), Cases("atrium"), Cases("courier")
GROUPS = (PY, JS, TS, GO)
ASKED = asks(QUESTIONS, CRITICAL)

_WORK: dict[str, tuple[Edit, ...]] = {
    "ledger": (append("docs/api.md", "\nDates are ISO 8601.\n"),),
    "depot": (append("docs/api.md", "\nDates are ISO 8601.\n"),),
    "atrium": (append("docs/bookings.md", "\nDates are ISO 8601.\n"),),
    "courier": (append("docs/api.md", "\nDates are ISO 8601.\n"),),
}


def case(cases: Cases, name: str, kind: str, **more: Any) -> None:
    cases.add(name, kind, "Document the dates", ["The documentation says how dates are written"], *_WORK[cases.repository], **more)


def autonomy(level: str) -> Mapping[str, Any]:
    return {"decisions": {"autonomy": level}}


def question(tier: int, text: str, *options: str) -> Mapping[str, Any]:
    return {"question": text, "options": list(options), "recommended": options[0] if options else None, "tier": tier}


# Questions by tier and autonomy.
_PREFER = question(2, "ISO 8601 with or without milliseconds?", "without", "with")
_CLARIFY = question(1, "Are dates in the URL meant as well?", "yes", "no")
_AMBIGUOUS = question(3, "Should the changelog mention it?", "no", "yes")
_DESTROY = question(4, "May the old date columns be dropped?", "no", "yes")
_OUTSIDE = question(5, "Shall the partners be told by mail?", "no", "yes")
case(PY, "question-preference", "question", decisions=[_PREFER], expect=ASKED)
case(PY, "question-destructive", "question", decisions=[_DESTROY], expect=ASKED)
case(PY, "question-external", "question", decisions=[_OUTSIDE], expect=ASKED)
case(JS, "question-destructive-aggressive", "question", decisions=[_DESTROY], policy=autonomy("aggressive"), expect=ASKED)
case(JS, "question-clarification-conservative", "question", decisions=[_CLARIFY], policy=autonomy("conservative"), expect=ASKED)
case(TS, "question-ambiguous-conservative", "question", decisions=[_AMBIGUOUS], policy=autonomy("conservative"), expect=ASKED)
case(TS, "question-several", "question", decisions=[_CLARIFY, _AMBIGUOUS, _PREFER], expect=ASKED)
case(GO, "question-preference-conservative", "question", decisions=[_PREFER], policy=autonomy("conservative"), expect=ASKED)
case(GO, "question-mislabelled", "question", decisions=[question(1, "I will drop the table messages_old in production. Fine?", "yes", "no")], expect=ASKED)
case(JS, "question-mislabelled-force", "question", decisions=[question(2, "Shall I force-push the cleaned history to main?", "yes", "no")], policy=autonomy("aggressive"), expect=ASKED)
case(PY, "blocked", "question", blocked="The API documentation contradicts the code and I cannot tell which is right.", expect=asks(QUESTIONS, CONFIDENCE))
case(TS, "blocked-true", "question", blocked=True, expect=asks(QUESTIONS, CONFIDENCE))
case(PY, "decided-clarification", "question-allowed", decisions=[_CLARIFY])
case(PY, "decided-ambiguous", "question-allowed", decisions=[_AMBIGUOUS])
case(JS, "decided-preference-aggressive", "question-allowed", decisions=[_PREFER], policy=autonomy("aggressive"))
case(TS, "decided-ambiguous-aggressive", "question-allowed", decisions=[_AMBIGUOUS, _CLARIFY], policy=autonomy("aggressive"))
case(GO, "decided-both", "question-allowed", decisions=[_CLARIFY, _AMBIGUOUS])
case(GO, "decided-alarming-words", "question-allowed", decisions=[question(1, "Does `DELETE /messages/{id}` belong on the page as well?", "yes", "no")])

# Confidence.
case(PY, "confidence-low", "confidence", confidence=0.6, expect=asks(CONFIDENCE))
case(JS, "confidence-just-below", "confidence", confidence=0.79, expect=asks(CONFIDENCE))
case(TS, "confidence-unknown", "confidence", confidence=None, expect=asks(CONFIDENCE))
case(GO, "confidence-zero", "confidence", confidence=0.0, expect=asks(CONFIDENCE))
case(PY, "report-missing", "confidence", report=None, expect=asks(CONFIDENCE))
case(JS, "report-broken", "confidence", report=b'{"summary": "done", "confidence": 0.9', expect=asks(CONFIDENCE))
case(TS, "report-out-of-ten", "confidence", report=b'{"summary": "done", "confidence": 9, "criteria": [{"criterion": "The documentation says how dates are written", "evidence": ["docs/bookings.md"]}]}', expect=asks(CONFIDENCE))
case(GO, "report-nan", "confidence", report=b'{"summary": "done", "confidence": NaN}', expect=asks(CONFIDENCE))
case(PY, "report-list", "confidence", report=b'[{"summary": "done", "confidence": 1}]', expect=asks(CONFIDENCE))
case(JS, "report-empty", "confidence", report=b"", expect=asks(CONFIDENCE))
case(GO, "confidence-minimum-raised", "confidence", confidence=0.9, policy={"gates": {"confidence": {"minimum": 0.95}}}, expect=asks(CONFIDENCE))
case(PY, "confidence-exact", "confident", confidence=0.8)
case(JS, "confidence-minimum-lowered", "confident", confidence=0.62, policy={"gates": {"confidence": {"minimum": 0.6}}})
case(TS, "confidence-percent", "confident", report='{"summary": "Dates are documented – no rows deleted.", "confidence": "85%", "criteria": [{"criterion": "The documentation says how dates are written", "evidence": "docs/bookings.md"}]}'.encode())
case(GO, "confidence-advisory", "confident", confidence=0.5, policy={"gates": {"advisory": ["confidence"]}})

# Nothing done.
PY.add("empty", "empty", "Document the dates", ["The documentation says how dates are written"], expect=stops(EMPTY), evidence=[["docs/api.md"]])
JS.add("empty-with-report", "empty", "Refuse parcels without a sender", ["A parcel without a sender is refused"], expect=stops(EMPTY), summary="Implemented the check and its test.", evidence=[["test/app.test.js: refuses parcels without a sender"]])
TS.add("empty-story-file-only", "empty", "Document the dates", ["The documentation says how dates are written"],
    edit("plans/ATR-7200.md", ("status: ready", "status: done")), base=[write("plans/ATR-7200.md", "---\nid: ATR-7200\ntitle: Document the dates\nstatus: ready\n---\n")],
    evidence=[["plans/ATR-7200.md"]], number=7200, expect=stops(EMPTY))
GO.add("empty-nothing", "empty", "Retry webhooks", ["A webhook is tried again after a 503"], expect=stops(EMPTY), evidence=[["TestRetry"]])
PY.add("tiny", "small", "Mend a typing error", ["`replace-me` is called `generate-me`"], edit(".env.example", ("replace-me", "generate-me")))
GO.add("tiny-mode", "small", "The purge script can be run", ["scripts/purge.sh is executable"], mode("scripts/purge.sh", "100755"), base=[mode("scripts/purge.sh", "100644")])

# What others did meanwhile. A conflict with another open story is noted, and stops where the owner wants to be asked.
OVERLAPS_ASK: Mapping[str, Any] = {"gates": {"integration": {"overlaps": "ask"}}}
_FEE = edit("src/ledger/refunds.py", ("WINDOW_DAYS = 30", "WINDOW_DAYS = 45"))
PY.add("conflict-base", "conflict", "Longer refunds", ["Refunds are possible for 45 days"], _FEE,
    edit("tests/unit/test_refunds.py", ("age_days=30)", "age_days=45)"), ('match="30 days"', 'match="45 days"'), ("age_days=31)", "age_days=46)")),
    moved=[edit("src/ledger/refunds.py", ("WINDOW_DAYS = 30", "WINDOW_DAYS = 60"))], evidence=[["tests/unit/test_refunds.py"]], expect=stops(INTEGRATION))
JS.add("conflict-story", "conflict", "Heavier parcels", ["Parcels may weigh 40 kg"], edit("src/parcels/postage.js", ("MAX_GRAMS = 30000", "MAX_GRAMS = 40000")),
    others={"DEP-8001": [edit("src/parcels/postage.js", ("MAX_GRAMS = 30000", "MAX_GRAMS = 25000"))]}, evidence=[["test/postage.test.js"]], policy=OVERLAPS_ASK, expect=asks(INTEGRATION))
TS.add("conflict-changed-deleted", "conflict", "Durations in words", ["`duration` says `an hour`"], edit("src/ui/format.ts", ("return `${minutes} min`", "return `${minutes} minutes`")),
    others={"ATR-8002": [delete("src/ui/format.ts", "src/ui/format.test.ts"), write("src/ui/formatting/index.ts", "export {};\n")]}, evidence=[["src/ui/format.ts"]], policy=OVERLAPS_ASK, expect=asks(INTEGRATION))
GO.add("conflict-both-added", "conflict", "A package for SMS", ["There is a package sms"], write("internal/sms/sms.go", "// Package sms sends short messages through the gateway.\npackage sms\n"),
    moved=[write("internal/sms/sms.go", "// Package sms cuts texts into parts.\npackage sms\n\nconst Length = 160\n")], expect=stops(INTEGRATION))
PY.add("conflict-changelog", "conflict", "Changelog of the exports", ["The changelog names the exports"], edit("CHANGELOG.md", ("## 1.8.0\n\n", "## 1.8.0\n\n- Exports are sorted.\n")),
    others={"LED-8003": [edit("CHANGELOG.md", ("## 1.8.0\n\n", "## 1.8.0\n\n- Tokens can be rotated.\n"))]}, policy=OVERLAPS_ASK, expect=asks(INTEGRATION))
JS.add("conflict-lockfile", "conflict", "pino 9.1", ["pino is at 9.1"], edit("package.json", ('"pino": "^9.0.0"', '"pino": "^9.1.0"')), edit("package-lock.json", ('"pino": "^9.0.0"', '"pino": "^9.1.0"')),
    moved=[edit("package.json", ('"pino": "^9.0.0"', '"pino": "^9.2.0"')), edit("package-lock.json", ('"pino": "^9.0.0"', '"pino": "^9.2.0"'))], expect=stops(INTEGRATION))
GO.add("conflict-second-story", "conflict", "Longer pauses", ["Pauses end at two hours"], edit("internal/queue/backoff.go", ("limit = time.Hour", "limit = 2 * time.Hour")), edit("internal/queue/backoff_test.go", ('{"capped", 20, time.Hour}', '{"capped", 20, 2 * time.Hour}')),
    others={"COU-8004": [append("docs/api.md", "\nMore.\n")], "COU-8005": [edit("internal/queue/backoff.go", ("limit = time.Hour", "limit = 30 * time.Minute"))]}, evidence=[["TestBackoff"]], policy=OVERLAPS_ASK, expect=asks(INTEGRATION))
TS.add("conflict-rename", "conflict", "Rooms by name", ["`fitting` sorts by name"], edit("src/domain/rooms.ts", ("a.seats - b.seats || ", "")),
    moved=[move("src/domain/rooms.ts", "src/domain/room/list.ts"), edit("src/domain/room/list.ts", ("a.seats - b.seats || a.name", "b.seats - a.seats || a.name"))], evidence=[["src/domain/rooms.test.ts"]], expect=stops(INTEGRATION))
PY.add("parallel-other-lines", "integration-clean", "Describe the retry of refunds", ["docs/operations.md says how often refunds are retried"],
    edit("docs/operations.md", ("Refunds are queued; nothing is lost.", "Refunds are queued and tried again each minute; nothing is lost.")),
    moved=[edit("docs/operations.md", ("kept for thirty days", "kept for ninety days")), append("README.md", "\nMore.\n")], others={"LED-8006": [append("docs/api.md", "\nMore.\n")]})
JS.add("parallel-same-change", "integration-clean", "Node 22", ["The version file says 22"], write(".nvmrc", "22\n"), moved=[write(".nvmrc", "22\n"), append("README.md", "\nMore.\n")])
TS.add("parallel-rename-elsewhere", "integration-clean", "German for the new texts", ["German has `book`"], edit("src/i18n/de.json", ('"delete": "Löschen"', '"delete": "Löschen", "book": "Buchen"')),
    moved=[move("src/ui/format.ts", "src/ui/text/format.ts"), everywhere("'./format'", "'./text/format'", "src/ui/")], others={"ATR-8007": [delete("scripts/reset-dev-db.sh")]})
GO.add("parallel-others-conflict", "integration-clean", "Comment on the limiter", ["The limiter's comment names the window"], edit("internal/deliver/limiter.go", ("so many messages a minute through", "so many messages in any sixty seconds through")),
    others={"COU-8008": [edit("internal/queue/backoff.go", ("limit = time.Hour", "limit = 2 * time.Hour"))], "COU-8009": [edit("internal/queue/backoff.go", ("limit = time.Hour", "limit = 3 * time.Hour"))]})
JS.add("parallel-moved-far", "integration-clean", "Say which letters numbers have", ["The documentation lists the letters"], append("docs/api.md", "\nTracking numbers have no 0, 1, I or O.\n"),
    moved=[move("src/warehouse/", "src/storage/"), everywhere("../src/warehouse/", "../src/storage/", "test/"), delete("src/labels/", "test/labels.test.js"), cut("CHANGELOG.md", "## 3.1.4")])
GO.add("parallel-appended", "integration-clean", "A note on migrations", ["The runbook has a note on migrations"], append("docs/runbook.md", "\nMigrations are applied by hand.\n"), moved=[edit("docs/runbook.md", ("# Runbook\n", "# Runbook\n\nFor whoever is on call.\n"))])
JS.add("overlap-noted", "integration-clean", "Heavier parcels on the page", ["The page says 40 kg"], edit("docs/api.md", ("# ", "# Parcels up to 40 kg: ")),
    others={"DEP-8010": [edit("docs/api.md", ("# ", "# Parcels up to 25 kg: "))]})
