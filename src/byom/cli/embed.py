"""``byom embed``"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import msgspec
import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def embed(
    model: options.ModelName,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts; none or - reads them from standard input, one a line."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print vectors and usage as one JSON object.")] = False,
) -> None:
    """Turn texts into vectors.

    Prints one JSON array a line, in the order of the texts.

    \b
    Examples:
      byom embed lexical "one text" "another text"
      byom embed lexical --json < lines.txt
    """
    given = texts or []
    if given in ([], ["-"]):
        given = [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not given:
        raise typer.BadParameter("there is no text", param_hint="TEXT")
    with options.hub() as client:
        answer = client.embed(model, given)
    if as_json:
        output.print_json(
            {"model": answer.model, "vectors": answer.vectors, "usage": msgspec.to_builtins(answer.usage)}
        )
    else:
        for vector in answer:
            typer.echo(json.dumps(vector))
