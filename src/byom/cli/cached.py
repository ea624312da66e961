"""``byom cached``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def cached(
    remove: Annotated[str | None, typer.Option("--remove", metavar="PATH", help="Remove these weights.")] = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """List the weights that were fetched, or remove some.

    \b
    Examples:
      byom cached
    """
    with options.hub() as client:
        if remove is not None:
            options.confirmed(f"Remove {remove}? It is fetched again when it is needed.", yes=yes)
            client.launches.remove_cached(remove)
            output.done({"path": remove}, f"removed {remove}", as_json=as_json)
            return
        found = client.launches.cached()
    if as_json:
        output.print_json(found)
        return
    rows = [(one["model_name"], one["model_version"], f"{one['bytes'] / 1e6:.0f} MB", one["path"]) for one in found]
    output.table(("name", "version", "size", "path"), rows, empty="No weights were fetched.", right=frozenset({"size"}))
