"""``./dev bench [overhead]``: what a story costs beside its work, as a ratio to a floor measured in the same run."""

from __future__ import annotations

import argparse
import asyncio

from bench import overhead


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("what", nargs="?", default="overhead", choices=["overhead"])
    parser.add_argument("--stories", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args()
    asyncio.run(overhead.main(given.stories, given.parallel, given.files))


if __name__ == "__main__":
    main()
