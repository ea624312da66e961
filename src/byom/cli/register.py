"""``byom register``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from byom.cli import options, output
from byom.errors import BadRequest

app = typer.Typer()
Type = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="LLM, embedding or rerank.")]


@app.command()
def register(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A file in JSON or TOML; - reads standard input.")],
    type_: Type = None,
    no_persist: Annotated[bool, typer.Option("--no-persist", help="Forget it when the hub ends.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the one of its name, all or nothing.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Register a spec: weights that can be launched.

    Every problem of the spec is said at once, with its field and how to mend it; then nothing is registered.

    \b
    Examples:
      byom register my-model.json
      byom register embedder.toml --type embedding
      byom register my-model.json --replace
    """
    text = _read(spec)
    with options.hub() as client:
        found = client.specs.register(text, type_, persist=not no_persist, replace=replace)
    name = found["spec"]["model_name"]
    if as_json:
        output.print_json(found)
        return
    typer.echo(f"✓ registered {name}")
    for note in found["notes"]:
        output.note(f"! {note}")
    typer.echo(f"Try: byom launch {name}")


def _read(spec: str) -> str:
    if spec == "-":
        return sys.stdin.read()
    try:
        return Path(spec).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{spec} is not UTF-8, from byte {error.start} on.") from error
    except OSError as error:
        raise BadRequest(f"{spec} cannot be read: {error.strerror}.") from error
