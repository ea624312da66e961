"""``byom restart``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output
from byom.cli.complete import complete_connection
from byom.cli.thing import connection_of

app = typer.Typer()


@app.command()
def restart(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Code: its connection, or one of its models.", autocompletion=complete_connection
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Start the process of code anew, with the code as it is now.

    Calls under way in it are ended.

    \b
    Examples:
      byom restart gemini
    """
    with options.hub() as client:
        connection = connection_of(client, name)
        state = client.connections.restart(connection)
    reason = f": {state['reason']}" if state["reason"] else ""
    output.done(state, f"restarted {connection}; it is {state['state']}{reason}", as_json=as_json)
