"""``byom stop``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output
from byom.cli.complete import complete_launch

app = typer.Typer()


@app.command()
def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A launched model.", autocompletion=complete_launch)],
    drain: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="For calls under way to end.")] = 5.0,
    unload: Annotated[bool, typer.Option("--unload", help="Only unload it: the next call loads it again.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Stop a launched model, ready or on its way.

    \b
    Examples:
      byom stop guide
      byom stop my-model --unload
    """
    with options.hub() as client:
        if unload:
            client.launches.unload(name)
        else:
            client.launches.stop(name, drain=drain)
    output.done({"uid": name}, f"{'unloaded' if unload else 'stopped'} {name}", as_json=as_json)
