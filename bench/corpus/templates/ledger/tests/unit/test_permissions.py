import pytest

from ledger.errors import ForbiddenError
from ledger.permissions import allowed, require


@pytest.mark.parametrize(
    ("role", "action", "expected"),
    [
        ("viewer", "invoice:read", True),
        ("viewer", "invoice:write", False),
        ("clerk", "refund:write", False),
        ("manager", "refund:write", True),
        ("nobody", "invoice:read", False),
    ],
)
def test_roles(role, action, expected):
    assert allowed(role, action) is expected


def test_require_says_who_may_not_what():
    with pytest.raises(ForbiddenError, match="viewer may not refund:write"):
        require("viewer", "refund:write")
