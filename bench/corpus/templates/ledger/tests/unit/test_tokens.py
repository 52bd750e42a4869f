import pytest

from ledger.errors import ForbiddenError
from ledger.tokens import LIFETIME_S, check, digest, new_token


def test_tokens_differ():
    assert new_token() != new_token()


def test_a_known_token_passes():
    token = new_token()
    check(token, digest(token), issued_at=0, now=LIFETIME_S)


def test_another_token_is_refused():
    with pytest.raises(ForbiddenError, match="unknown"):
        check("ldg_other", digest("ldg_one"), issued_at=0, now=1)


def test_an_old_token_is_refused():
    token = new_token()
    with pytest.raises(ForbiddenError, match="expired"):
        check(token, digest(token), issued_at=0, now=LIFETIME_S + 1)
