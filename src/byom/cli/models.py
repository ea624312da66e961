"""``byom models``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from byom.cli import options, output
from byom.cli.complete import complete_connection
from byom.errors import PermissionDenied

app = typer.Typer()


@app.command()
def models(
    connection: Annotated[
        str | None, typer.Option(help="Only those of this connection.", autocompletion=complete_connection)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the models.

    \b
    Examples:
      byom models
      byom models --connection box
      byom models --json
    """
    with options.hub() as client:
        try:
            found = client.models.list()
        except PermissionDenied:
            # A key for using models may not see how they are set up, but may see which it can use.
            found = [{"name": name} for name in client.model_names()]
    if connection:
        found = [model for model in found if model.get("connection") == connection]
    if as_json:
        output.print_json(found)
        return
    columns = ("name", "connection", "abilities", "context", "price in/out per 1M", "state")
    rows = [
        (
            model["name"],
            model.get("connection"),
            model.get("abilities"),
            model.get("context_window"),
            _price(model),
            _state(model),
        )
        for model in found
    ]
    output.table(columns, rows, empty="There are no models. Connect one with: byom connect NAME --url URL")


def _price(model: dict[str, Any]) -> str:
    shown = model.get("price")
    if not shown:
        return "-"
    price = shown["price"]
    return "free" if price["input"] == price["output"] == "0" else f"${price['input']}/${price['output']}"


def _state(model: dict[str, Any]) -> str:
    state = str(model.get("state", "-"))
    return {"unknown": "not called yet", "stopped": "not running"}.get(state, state)
