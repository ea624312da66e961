"""``byom settings``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import assignments, options, output

app = typer.Typer(no_args_is_help=True, help="Settings that take effect without a restart.")


@app.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """Show all settings.

    \b
    Examples:
      byom settings list
      byom settings list --json
    """
    with options.hub() as client:
        found = client.settings.get()
    if as_json:
        output.print_json(found)
        return
    for name, value in found.items():
        typer.echo(f"{name} = {output.limits(value) if name.endswith('limits') else output.cell(value)}")


@app.command("set")
def set_(
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", help="VALUE is JSON or text.")],
    as_json: options.AsJson = False,
) -> None:
    """Change settings.

    \b
    Examples:
      byom settings set require_price=true
      byom settings set network.allow_private=false keepalive_seconds=30
    """
    changes = assignments.assigned(values, None)
    with options.hub() as client:
        changed = client.settings.update(**changes)
    output.done(changed, f"changed {', '.join(changes)}", as_json=as_json)


@app.command("unset")
def unset(names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names of settings.")]) -> None:
    """Put settings back to their defaults.

    \b
    Examples:
      byom settings unset require_price
    """
    with options.hub() as client:
        client.settings.update(**assignments.assigned(None, names))
    typer.echo(f"✓ back to the default: {', '.join(names)}")
