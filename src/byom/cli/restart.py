"""``byom restart``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output
from byom.cli.complete import complete_connection

app = typer.Typer()


@app.command()
def restart(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A connection of code.", autocompletion=complete_connection)
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
        state = client.connections.restart(name)
    reason = f": {state['reason']}" if state["reason"] else ""
    output.done(state, f"restarted {name}; it is {state['state']}{reason}", as_json=as_json)
