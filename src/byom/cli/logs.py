"""``byom logs``"""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from byom.cli import options
from byom.cli.complete import complete_connection

app = typer.Typer()


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A connection of code.", autocompletion=complete_connection)
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last lines.")] = 200,
) -> None:
    """Show what code has written.

    Everything that it prints, tracebacks, and what happened to its processes.

    \b
    Examples:
      byom logs gemini -n 50
      byom logs gemini -f
    """
    with options.hub() as client, contextlib.suppress(KeyboardInterrupt):
        client.connections.logs(name, lines=lines, follow=follow, on_text=lambda text: typer.echo(text, nl=False))
