"""``byom specs``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def specs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one whole.")] = None,
    type_: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="LLM, embedding or rerank.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the specs that can be launched, or show one.

    \b
    Examples:
      byom specs
      byom specs my-model > my-model.json
    """
    with options.hub() as client:
        if name is not None:
            output.print_json(client.specs.get(name, type_ or "LLM"))
            return
        found = client.specs.list(type_, detailed=True)
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            one["model_name"],
            one["model_type"],
            one["spec"].get("model_ability") or one["model_type"],
            sorted({entry["model_format"] for entry in one["spec"]["model_specs"]}),
            "comes with BYOM" if one["is_builtin"] else "kept" if one["persisted"] else "until the hub ends",
        )
        for one in found
    ]
    output.table(
        ("name", "type", "abilities", "formats", "kept"), rows, empty="No specs. Register one: byom register SPEC"
    )
