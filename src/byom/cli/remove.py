"""``byom remove``"""

from __future__ import annotations

from typing import Any

import typer

from byom.cli import options, output, thing

app = typer.Typer()
_CONSEQUENCES = (
    ("models", "these models are gone"),
    ("fallbacks", "these models lose a fallback"),
    ("keys", "these keys stop working or lose a model"),
    ("settings", "these settings go back to their default"),
)


@app.command()
def remove(
    name: options.Thing,
    model: thing.AsModel = False,
    connection: thing.AsConnection = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove a model, or a connection with its models.

    Says first what stops working.

    \b
    Examples:
      byom remove fake-model
      byom remove box --connection --yes
    """
    with options.hub() as client:
        found = thing.find(client, name, model=model, connection=connection)
        if not yes:
            consequences(found.collection.delete(found.name, dry_run=True))
        options.confirmed(f"Remove the {found.kind} {found.name}?", yes=yes)
        gone = found.collection.delete(found.name)
    output.done(gone, f"removed the {found.kind} {found.name}", as_json=as_json)


def consequences(plan: dict[str, Any]) -> None:
    """What a deletion takes with it."""
    for field, meaning in _CONSEQUENCES:
        names = plan.get(field)
        if names:
            output.note(f"{meaning}: {', '.join(names)}")
    for warning in plan.get("warnings", ()):
        output.note(f"! {warning}")
