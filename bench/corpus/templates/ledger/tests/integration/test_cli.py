from ledger.cli.main import main


def test_split_prints_the_shares(capsys):
    assert main(["split", "1.00 EUR", "3"]) == 0
    assert capsys.readouterr().out == "0.34 EUR\n0.33 EUR\n0.33 EUR\n"
