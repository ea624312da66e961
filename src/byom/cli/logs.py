"""``byom logs``"""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from byom.cli import options
from byom.cli.complete import complete_connection
from byom.cli.thing import connection_of
from byom.errors import NotFound

app = typer.Typer()


@app.command()
def logs(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A launched model, or code.", autocompletion=complete_connection),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last lines.")] = 200,
    replica: Annotated[int | None, typer.Option("--replica", min=0, help="Of a launched model: which process.")] = None,
) -> None:
    """Show what an engine or code has written.

    Everything that it prints, tracebacks, and what happened to its processes.

    \b
    Examples:
      byom logs gemini -n 50
      byom logs guide --replica 1 -f
    """

    def show(text: str) -> None:
        typer.echo(text, nl=False)

    with options.hub() as client, contextlib.suppress(KeyboardInterrupt):
        try:
            client.launches.logs(name, replica=replica, lines=lines, follow=follow, on_text=show)
        except NotFound:
            client.connections.logs(connection_of(client, name), lines=lines, follow=follow, on_text=show)
