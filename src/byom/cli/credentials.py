"""``byom credentials``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from byom.cli import options, output
from byom.cli.complete import complete_connection
from byom.errors import NotFound

app = typer.Typer(no_args_is_help=True, help="Your own credentials, for plugins that call others in your name.")
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The connection, or the preset, that asks for it.", autocompletion=complete_connection
    ),
]
Field = Annotated[str | None, typer.Argument(metavar="[FIELD]", help="Which one, where it asks for several.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Which preset, where the connection has several.")]


@app.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """List what the models that you may use ask of you.

    \b
    Examples:
      byom credentials list
      byom credentials list --json
    """
    with options.hub() as client:
        found = client.credentials.list()
    if as_json:
        output.print_json(found)
        return
    rows = [(one["connection"], one["preset"], one["field"], one["models"], _state(one)) for one in found]
    output.table(("connection", "preset", "field", "models", "state"), rows, empty="No model asks for a credential.")


def _state(one: dict[str, Any]) -> str:
    return "missing" if not one["is_set"] else f"…{one['hint']}" if one["hint"] else "set"


@app.command("set")
def set_(name: Name, field: Field = None, preset: Preset = None, as_json: options.AsJson = False) -> None:
    """Enter a credential of your own. It is asked for, or read from standard input, and shown to nobody.

    Where it is a user name and a password, the user name comes first, on a line of its own.

    \b
    Examples:
      byom credentials set openai
      byom credentials set openai < key.txt
    """
    with options.hub() as client:
        one = _asked(client.credentials.list(), name, field, preset)
        value = _value(one)
        stored = client.credentials.set(one["connection"], one["preset"], one["field"], value)
    output.done(stored, f"kept {one['field']} of {one['preset']} for {one['connection']}", as_json=as_json)


def _value(one: dict[str, Any]) -> str | dict[str, str]:
    label = one["label"] or one["field"]
    if one["type"] != "BASIC":
        return options.read_secret(label)
    return {"user": options.read_line(f"{label}: user"), "password": options.read_secret(f"{label}: password")}


@app.command("remove")
def remove(
    name: Name, field: Field = None, preset: Preset = None, yes: options.Yes = False, as_json: options.AsJson = False
) -> None:
    """Remove a credential of your own; models that need it refuse your calls then.

    \b
    Examples:
      byom credentials remove openai --yes
    """
    with options.hub() as client:
        one = _asked([one for one in client.credentials.list() if one["is_set"]], name, field, preset)
        options.confirmed(f"Remove {one['field']} of {one['preset']}?", yes=yes)
        client.credentials.delete(one["connection"], one["preset"], one["field"])
    output.done(one | {"is_set": False, "hint": None}, f"removed {one['field']} of {one['preset']}", as_json=as_json)


def _asked(found: list[dict[str, Any]], name: str, field: str | None, preset: str | None) -> dict[str, Any]:
    """The one that is meant. Raises `NotFound`, and wrong usage where several could be."""
    meant = [
        one
        for one in found
        if name in (one["connection"], one["preset"])
        and field in (None, one["field"])
        and preset in (None, one["preset"])
    ]
    if not meant:
        raise NotFound(f"Nothing of {name!r} asks for such a credential. See: byom credentials list")
    if len(meant) > 1:
        choice = ", ".join(f"{one['connection']} {one['field']} --preset {one['preset']}" for one in meant)
        raise typer.BadParameter(f"several are meant; say which: {choice}", param_hint="NAME")
    return meant[0]
