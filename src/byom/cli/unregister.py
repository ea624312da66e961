"""``byom unregister``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def unregister(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of a registered spec.")],
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help="LLM, embedding or rerank.")] = "LLM",
    as_json: options.AsJson = False,
) -> None:
    """Forget a spec.

    What runs of it goes on, and weights stay where they are.

    \b
    Examples:
      byom unregister my-model
    """
    with options.hub() as client:
        client.specs.unregister(name, type_)
    output.done({"model_name": name, "type": type_}, f"unregistered {name}", as_json=as_json)
