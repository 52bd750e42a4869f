import sys

import pytest

from ledger.settings import load

ENV = {"LEDGER_SIGNING_KEY": "test-key", "LEDGER_GATEWAY_TOKEN": "test-token"}


def test_reads_the_environment():
    settings = load({**ENV, "LEDGER_DATABASE_URL": "postgresql://x"})
    assert settings.database_url == "postgresql://x"
    assert settings.signing_key == "test-key"
    assert not settings.debug


def test_a_missing_key_is_an_error():
    with pytest.raises(KeyError):
        load({})


@pytest.mark.skipif(sys.platform == "win32", reason="environment names are upper case there")
def test_names_are_case_sensitive():
    with pytest.raises(KeyError):
        load({"ledger_signing_key": "x", "LEDGER_GATEWAY_TOKEN": "y"})
