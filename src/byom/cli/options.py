"""Options and arguments that several commands have, and the client they work with."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from byom.cli.complete import complete_key, complete_model, complete_thing

if TYPE_CHECKING:
    from byom.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name.", autocompletion=complete_model)]
Thing = Annotated[
    str, typer.Argument(metavar="NAME", help="A model's or a connection's name.", autocompletion=complete_thing)
]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, or its name.", autocompletion=complete_key)]
Key = Annotated[
    str | None,
    typer.Option("--key", help="The server's key. Other users of this machine may see it; --key-stdin is safer."),
]
KeyEnv = Annotated[
    str | None, typer.Option("--key-env", metavar="VAR", help="Take the key from this environment variable.")
]
KeyStdin = Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME: VALUE", help="A further header; may be repeated.")
]
CaFile = Annotated[str | None, typer.Option("--ca-file", metavar="PATH", help="PEM file of the CA to trust.")]


@contextlib.contextmanager
def hub() -> Iterator[Client]:
    """A client of the hub that the environment names, closed in the end."""
    from byom.client import Client

    with Client() as client:
        yield client


def given_key(key: str | None, key_env: str | None, *, key_stdin: bool) -> str | None:
    """The key, from wherever it was given; ``None`` where it was not. It is never printed."""
    if sum((key is not None, key_env is not None, key_stdin)) > 1:
        raise typer.BadParameter("give only one of --key, --key-env and --key-stdin")
    if key_env is not None:
        value = os.environ.get(key_env, "").strip()
        if not value:
            raise typer.BadParameter(f"the variable {key_env} is not set", param_hint="--key-env")
        return value
    if key_stdin:
        return _read_key()
    return key


def _read_key() -> str:
    value = _hidden("Key")
    if not value:
        raise typer.BadParameter("there is no key on standard input", param_hint="--key-stdin")
    return value


def read_secret(label: str) -> str:
    """A line from standard input; at a terminal it is asked for, and not shown."""
    value = _hidden(label)
    if not value:
        raise typer.BadParameter(f"there is nothing on standard input for {label}")
    return value


def read_line(label: str) -> str:
    """A line from standard input that may be seen."""
    if sys.stdin.isatty():
        return str(typer.prompt(label, err=True)).strip()
    return sys.stdin.readline().strip()


def _hidden(label: str) -> str:
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(f"{label}: ").strip()
    return sys.stdin.readline().strip()


def given_headers(headers: list[str] | None) -> dict[str, str] | None:
    """Headers from ``NAME: VALUE``; the value stays out of any message."""
    if not headers:
        return None
    found = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter("a header is written NAME: VALUE", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def confirmed(question: str, *, yes: bool) -> None:
    """Ask, and end with exit code 1 unless the answer is yes. Without a terminal there is nobody to ask: ``--yes``."""
    if yes:
        return
    if not sys.stdin.isatty():
        typer.echo("Nothing was done: there is no terminal to ask at. Add --yes.", err=True)
        raise typer.Exit(1)
    if not typer.confirm(question, err=True):
        typer.echo("Nothing was done.", err=True)
        raise typer.Exit(1)
