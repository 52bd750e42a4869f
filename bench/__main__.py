"""``./dev bench [overhead | gateway]``: what auto-dev adds to the work, beside a floor measured in the same run."""

from __future__ import annotations

import argparse
import asyncio

from bench import gateway, overhead


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("what", nargs="?", default="overhead", choices=["overhead", "gateway"])
    parser.add_argument("--stories", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--chain", type=int, default=overhead.CHAIN, help="overhead: stories in a chain")
    parser.add_argument("--alone", type=int, default=overhead.ALONE, help="overhead: stories one at a time")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--folder", default="", help="gateway: where its database lies")
    parser.add_argument("--litellm", action="store_true", help="gateway: measure the LiteLLM proxy beside it")
    given = parser.parse_args()
    if given.what == "gateway":
        asyncio.run(gateway.main(given.requests, litellm=given.litellm, place=given.folder))
        return
    asyncio.run(overhead.main(given.stories, given.parallel, given.files, given.chain, given.alone))


if __name__ == "__main__":
    main()
