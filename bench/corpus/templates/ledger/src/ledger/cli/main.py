"""The command line."""

from __future__ import annotations

import argparse
import sys

from ledger import __version__
from ledger.money import parse


def build() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ledger")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    split = commands.add_parser("split", help="split an amount into parts")
    split.add_argument("amount")
    split.add_argument("parts", type=int)
    return parser


def main(argv: list[str] | None = None) -> int:
    given = build().parse_args(argv)
    if given.command == "split":
        for share in parse(given.amount).split(given.parts):
            sys.stdout.write(f"{share}\n")
    return 0
