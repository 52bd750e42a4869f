"""``./dev bench [overhead | gateway | gates]``: what auto-dev adds to the work, and what its gates are worth."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bench import gateway, overhead
from bench.corpus import gates, history, labels


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("what", nargs="?", default="overhead", choices=["overhead", "gateway", "gates"])
    parser.add_argument("--stories", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--chain", type=int, default=overhead.CHAIN, help="overhead: stories in a chain")
    parser.add_argument("--alone", type=int, default=overhead.ALONE, help="overhead: stories one at a time")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--folder", default="", help="gateway: where its database lies")
    parser.add_argument("--litellm", action="store_true", help="gateway: measure the LiteLLM proxy beside it")
    parser.add_argument("--json", action="store_true", help="gates: the score as JSON")
    parser.add_argument("--only", default="", help="gates: cases whose id begins so, or of this kind or repository")
    parser.add_argument("--show", action="store_true", help="gates: every case, with what each gate said")
    parser.add_argument("--held-out", action="store_true", help="gates: name the cases of the held-out half as well")
    parser.add_argument("--labels", action="store_true", help="gates: check the labels with plain programs instead")
    parser.add_argument("--repository", default="", help="gates: judge the history of this repository instead")
    parser.add_argument("--commits", type=int, default=200, help="gates: how many commits of it")
    given = parser.parse_args()
    if given.what == "gates":
        sys.exit(asyncio.run(_gates(given)))
    if given.what == "gateway":
        asyncio.run(gateway.main(given.requests, litellm=given.litellm, place=given.folder))
        return
    asyncio.run(overhead.main(given.stories, given.parallel, given.files, given.chain, given.alone))


async def _gates(given: argparse.Namespace) -> int:
    if given.labels:
        return await asyncio.to_thread(labels.main, given.only)
    if given.repository:
        return await history.main(given.repository, given.commits, parallel=gates.PARALLEL, json_out=given.json)
    return await gates.main(json_out=given.json, only=given.only, show=given.show, held_out=given.held_out)


if __name__ == "__main__":
    main()
