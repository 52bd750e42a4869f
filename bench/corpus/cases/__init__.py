"""The cases, by language and kind."""

from __future__ import annotations

from bench.corpus.case import Cases
from bench.corpus.cases import (
    claims_cases,
    critical_cases,
    go_bad,
    go_clean,
    js_bad,
    js_clean,
    py_bugs,
    py_chores,
    py_features,
    py_proof,
    py_refactors,
    py_tampering,
    scope_cases,
    secrets_cases,
    ts_bad,
    ts_clean,
)

GROUPS: tuple[Cases, ...] = (
    *(
        module.CASES
        for module in (
            go_bad, go_clean, js_bad, js_clean, py_bugs, py_chores, py_features, py_proof, py_refactors, py_tampering,
            ts_bad, ts_clean,
        )
    ),
    *claims_cases.GROUPS,
    *critical_cases.GROUPS,
    *scope_cases.GROUPS,
    *secrets_cases.GROUPS,
)
