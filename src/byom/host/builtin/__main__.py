"""Serves the built-in models: ``python -m byom.host.builtin --port 0 --token-stdin``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from byom.host.app import HostApp
from byom.host.builtin.extractive import ExtractiveModel
from byom.host.builtin.lexical import LexicalModel
from byom.host.builtin.work import Workers
from byom.host.serve import TOKEN_VARIABLE, read_token, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until standard input ends or a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m byom.host.builtin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--token-stdin", action="store_true", help=f"read the token from standard input, not {TOKEN_VARIABLE}"
    )
    parser.add_argument("--no-follow", action="store_true", help="go on when standard input ends")
    given = parser.parse_args(argv)
    try:
        token = read_token(given.token_stdin)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    workers = Workers()
    app = HostApp([ExtractiveModel(workers), LexicalModel(workers)], token)
    try:
        serve(app, given.host, given.port, follow_stdin=not given.no_follow)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {given.host}:{given.port}: {error.strerror}\n")
        return 1
    finally:
        workers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
