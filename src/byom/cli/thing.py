"""Which model or connection a name on the command line means."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from byom.errors import NotFound

if TYPE_CHECKING:
    from byom.client import Client

AsModel = Annotated[bool, typer.Option("--model", help="NAME is a model, where a connection has the same name.")]
AsConnection = Annotated[
    bool, typer.Option("--connection", help="NAME is a connection, where a model has the same name.")
]


class Found(NamedTuple):
    kind: str
    """``model`` or ``connection``"""
    name: str
    record: dict[str, Any]
    collection: Any
    """The client's collection that it belongs to."""


def find(client: Client, name: str, *, model: bool, connection: bool) -> Found:
    """Raises `NotFound` with names that resemble it; wrong usage where both a model and a connection have the name."""
    kinds = {"model": client.models, "connection": client.connections}
    if model != connection:
        kinds.pop("connection" if model else "model")
    found = []
    for kind, collection in kinds.items():
        try:
            record = collection.get(name)
        except NotFound:
            continue
        found.append(Found(kind, record["name"], record, collection))
    if not found:
        names = [record["name"] for collection in kinds.values() for record in collection.list()]
        close = difflib.get_close_matches(name, names, 3, 0.5)
        hint = f" Did you mean {', '.join(close)}?" if close else " See: byom models"
        raise NotFound(f"There is no {' or '.join(kinds)} named {name!r}.{hint}")
    if len(found) > 1:
        raise typer.BadParameter(f"{name} is a model and a connection: add --model or --connection", param_hint="NAME")
    return found[0]


def connection_of(client: Client, name: str) -> str:
    """The connection of this name, else that of the model of this name. Raises `NotFound`."""
    try:
        return str(client.connections.get(name)["name"])
    except NotFound as missing:
        try:
            return str(client.models.get(name)["connection"])
        except NotFound:
            raise missing from None
