"""``byom rename``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output, thing

app = typer.Typer()


@app.command()
def rename(
    name: options.Thing,
    to: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name.")],
    model: thing.AsModel = False,
    connection: thing.AsConnection = False,
    as_json: options.AsJson = False,
) -> None:
    """Rename a model or a connection.

    Fallbacks and restricted keys follow; callers have to use the new name.

    \b
    Examples:
      byom rename fake-model small
      byom rename box laboratory --connection
    """
    with options.hub() as client:
        found = thing.find(client, name, model=model, connection=connection)
        changed = found.collection.rename(found.name, to)
    output.done(changed, f"the {found.kind} {found.name} is now {changed['name']}", as_json=as_json)
