"""Runs a fake upstream by hand: ``python -m byom.testing.fake_upstream --port 9000 --behavior latency=0.2``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from byom.testing.behavior import Behavior, BehaviorError
from byom.testing.upstream import FakeUpstream


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m byom.testing.fake_upstream", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--prefix", default="/v1", help="path before the routes")
    parser.add_argument("--api-key", help="required of callers when given")
    parser.add_argument("--model", action="append", metavar="NAME", help="name to list; may be repeated")
    parser.add_argument(
        "--behavior",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="fields of byom.testing.Behavior",
    )
    return parser.parse_args(argv)


async def _serve(upstream: FakeUpstream) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with upstream:
        sys.stdout.write(f"{upstream.base_url}\n")
        sys.stdout.flush()
        await stopping.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until interrupted. Prints the base URL when it is ready."""
    given = _arguments(argv)
    try:
        behavior = Behavior.parse(given.behavior)
    except BehaviorError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    upstream = FakeUpstream(
        behavior,
        models=given.model or ("fake-model",),
        api_key=given.api_key,
        prefix=given.prefix,
        host=given.host,
        port=given.port,
    )
    asyncio.run(_serve(upstream))
    return 0


if __name__ == "__main__":
    sys.exit(main())
