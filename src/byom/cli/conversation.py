"""A conversation at the terminal."""

from __future__ import annotations

import contextlib
from typing import Any

import typer

from byom.cli import output
from byom.errors import ByomError

_HELP = "/reset begins anew, /system TEXT sets the system message, /exit or Ctrl-D ends. Ctrl-C stops an answer."


def converse(client: Any, model: str, system: str | None, params: dict[str, Any]) -> None:
    """Until the user ends it. What was said stays in the conversation; an error does not end it."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` its history and editing
    output.note(f"Talking to {model}. {_HELP}")
    messages: list[dict[str, Any]] = []
    while True:
        try:
            said = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if said in ("/exit", "/quit"):
            return
        if said == "/reset":
            messages = []
        elif said.startswith("/system"):
            system = said.removeprefix("/system").strip() or None
        elif said.startswith("/"):
            output.note(_HELP)
        elif said:
            messages = _turn(client, model, [*messages, {"role": "user", "content": said}], system, params)


def _turn(
    client: Any, model: str, messages: list[dict[str, Any]], system: str | None, params: dict[str, Any]
) -> list[dict[str, Any]]:
    """The conversation after one answer; without the question where it failed."""
    said: list[str] = []
    try:
        with client.chat(model, messages, system=system, stream=True, **params) as pieces:
            for piece in pieces:
                said.append(piece.text)
                typer.echo(piece.text, nl=False)
    except KeyboardInterrupt:
        typer.echo(" …", nl=False)
    except ByomError as error:
        output.problem(error)
        return messages[:-1]
    typer.echo()
    return [*messages, {"role": "assistant", "content": "".join(said)}]
