"""Serves the models of an AgentStudio server: ``python -m byom.host.agentstudio --url http://box:8000 --model gpt-4o``.

What the server, or a proxy before it, wants as its ``Authorization`` header is read from the variable
``BYOM_AGENTSTUDIO_AUTHORIZATION``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import msgspec

from byom.errors import ByomError
from byom.host.agentstudio.server import served_models
from byom.host.app import HostApp
from byom.host.serve import TOKEN_VARIABLE, read_token, serve
from byom.models.agentstudio.wire import MessageForm
from byom.types.target import NetworkPolicy, Timeouts

AUTHORIZATION_VARIABLE = "BYOM_AGENTSTUDIO_AUTHORIZATION"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m byom.host.agentstudio", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", required=True, help="of AgentStudio's server, without /generate")
    parser.add_argument("--model", action="append", required=True, metavar="NAME", help="may be repeated")
    parser.add_argument(
        "--form",
        choices=[form.value for form in MessageForm],
        default=MessageForm.MESSAGE.value,
        help="what the server takes for a message: 'message' since August 2024, before that 'prompt-seg',\n"
        "before June 2024 'dict'",
    )
    parser.add_argument("--concurrency", type=int, default=1, help="calls at once that the server can work on")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one answer; 0: no limit")
    parser.add_argument("--ca-file", help="verify https by the certificates in this file alone")
    parser.add_argument("--insecure", action="store_true", help="do not verify https")
    parser.add_argument("--network", default="{}", metavar="JSON", help="which addresses are allowed (NetworkPolicy)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--token-stdin", action="store_true", help=f"read the token from standard input, not {TOKEN_VARIABLE}"
    )
    parser.add_argument("--no-follow", action="store_true", help="go on when standard input ends")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until standard input ends or a signal comes."""
    given = _arguments(argv)
    try:
        token = read_token(given.token_stdin)
        models = served_models(
            given.url,
            given.model,
            form=MessageForm(given.form),
            concurrency=given.concurrency,
            policy=msgspec.json.decode(given.network, type=NetworkPolicy),
            timeouts=Timeouts(first_byte=given.timeout, idle=given.timeout),
            authorization=os.environ.pop(AUTHORIZATION_VARIABLE, None),
            ca_file=given.ca_file,
            verify_tls=not given.insecure,
        )
    except (ValueError, ByomError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        serve(HostApp(models, token), given.host, given.port, follow_stdin=not given.no_follow)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {given.host}:{given.port}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
