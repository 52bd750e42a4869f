"""What can go wrong, in words that may be shown to a caller."""


class LedgerError(Exception):
    code = "error"


class NotFoundError(LedgerError):
    code = "not_found"


class ForbiddenError(LedgerError):
    code = "forbidden"


class InvalidError(LedgerError):
    code = "invalid"
