"""``byom engines``"""

from __future__ import annotations

import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def engines(as_json: options.AsJson = False) -> None:
    """List the engines that can serve weights on the hub's machine, and what to install for the rest.

    \b
    Examples:
      byom engines
    """
    with options.hub() as client:
        found = client.launches.engines()
    if as_json:
        output.print_json(found)
        return
    rows = [(one["name"], one["usable"], one["version"], one["formats"], one["reason"]) for one in found]
    output.table(("engine", "usable", "version", "formats", "why not"), rows, empty="There are no engines.")
