"""Serves user code: ``python -m byom.host.code --port 0 --token-stdin --configuration-stdin``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from byom.errors import ByomError
from byom.host.code.configuration import HostConfig, decode
from byom.host.code.front import CodeHost
from byom.host.code.output import Output
from byom.host.serve import TOKEN_VARIABLE, Tls, read_line, read_token, serve

_MAX_CONFIGURATION = 64 * 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until standard input ends or a signal comes."""
    given = _arguments(argv)
    try:
        token = read_token(given.token_stdin)
        config = _configuration(given)
    except (ValueError, ByomError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    output = Output()
    host = CodeHost(config, output.write, own_process=True)
    tls = Tls(given.tls_cert, given.tls_key) if given.tls_cert is not None else None
    try:
        serve(host.app(token, managed=True), given.host, given.port, follow_stdin=not given.no_follow, tls=tls)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {given.host}:{given.port}: {error.strerror or error}\n")
        return 1
    finally:
        output.drain(1.0)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m byom.host.code", description=__doc__)
    parser.add_argument("target", nargs="?", help="module:object, file.py:object or a plugin's folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--token-stdin", action="store_true", help=f"read the token from standard input, not {TOKEN_VARIABLE}"
    )
    parser.add_argument(
        "--configuration-stdin", action="store_true", help="read one line with the configuration after the token's"
    )
    parser.add_argument("--no-follow", action="store_true", help="go on when standard input ends")
    parser.add_argument("--tls-cert", type=Path, help="PEM file with the certificate chain")
    parser.add_argument("--tls-key", type=Path, help="PEM file with its private key")
    return parser.parse_args(argv)


def _configuration(given: argparse.Namespace) -> HostConfig:
    if given.configuration_stdin:
        return decode(read_line(_MAX_CONFIGURATION))
    if not given.target:
        raise ValueError("there is nothing to serve: give a target, or --configuration-stdin")
    return HostConfig(target=given.target)


if __name__ == "__main__":
    sys.exit(main())
