"""Errors as answers."""

from __future__ import annotations

from ledger.errors import ForbiddenError, LedgerError, NotFoundError

STATUS = {NotFoundError: 404, ForbiddenError: 403}


def answer(error: LedgerError) -> tuple[int, dict[str, object]]:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
    return status, {"error": {"code": error.code, "message": str(error)}}
