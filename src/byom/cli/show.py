"""``byom show``"""

from __future__ import annotations

from typing import Any

import typer

from byom.cli import options, output, thing

app = typer.Typer()


@app.command()
def show(
    name: options.Thing,
    model: thing.AsModel = False,
    connection: thing.AsConnection = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a model or a connection.

    Everything that is known of it, but no secrets.

    \b
    Examples:
      byom show extractive
      byom show box --connection --json
    """
    with options.hub() as client:
        found = thing.find(client, name, model=model, connection=connection)
    if as_json:
        output.print_json(found.record)
    else:
        output.fields({"kind": found.kind} | _readable(found.record))


def _readable(record: dict[str, Any]) -> dict[str, Any]:
    shown = dict(record)
    for field in ("created_at", "updated_at"):
        shown[field] = output.moment(record.get(field))
    shown["limits"] = output.limits(record.get("limits"))
    if record.get("key_hint") is not None:
        shown["key_hint"] = f"…{record['key_hint']}"
    price = record.get("price")
    if price:
        pattern = f" ({price['pattern']})" if price.get("pattern") else ""
        shown["price"] = f"{output.cell(price['price'])} per 1M tokens, from {price['source']}{pattern}"
    return shown
