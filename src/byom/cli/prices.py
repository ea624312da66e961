"""``byom prices``"""

from __future__ import annotations

from typing import Annotated

import typer

from byom.cli import options, output

app = typer.Typer(no_args_is_help=True, help="Your own prices, which go before the packaged ones.")
Pattern = Annotated[str, typer.Argument(metavar="PATTERN", help="A model's name, or a pattern with * and ?.")]


@app.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """List your own prices, in dollars per million tokens.

    \b
    Examples:
      byom prices list --json
    """
    with options.hub() as client:
        found = client.prices.list()
    if as_json:
        output.print_json(found)
        return
    names = ("input", "output", "cached_input", "cache_write", "request")
    rows = [(price["pattern"], *(price["price"][name] for name in names)) for price in found]
    output.table(
        ("pattern", *names),
        rows,
        empty="There are no prices of your own. Set one with: byom prices set PATTERN --input 0.15 --output 0.60",
        right=frozenset(names),
    )


@app.command("set")
def set_(
    pattern: Pattern,
    input_: Annotated[str, typer.Option("--input", help="Dollars per million tokens of prompts.")],
    output_: Annotated[str, typer.Option("--output", help="Dollars per million tokens of answers.")],
    cached_input: Annotated[str | None, typer.Option(help="Of cached prompts; as --input by default.")] = None,
    cache_write: Annotated[str | None, typer.Option(help="Of prompts written to a cache.")] = None,
    request: Annotated[str | None, typer.Option(help="Dollars for each call.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Set the price of all models that match. It holds for calls from now on.

    \b
    Examples:
      byom prices set fake-model --input 0.15 --output 0.60
      byom prices set "llama-*" --input 0 --output 0
    """
    given = {
        "input": input_,
        "output": output_,
        "cached_input": cached_input,
        "cache_write": cache_write,
        "request": request,
    }
    with options.hub() as client:
        stored = client.prices.put(pattern, **{name: value for name, value in given.items() if value is not None})
    output.done(stored, f"{pattern}: ${input_} in, ${output_} out per million tokens", as_json=as_json)


@app.command("remove")
def remove(pattern: Pattern) -> None:
    """Take a price back; the packaged one holds again, where there is one.

    \b
    Examples:
      byom prices remove fake-model
    """
    with options.hub() as client:
        client.prices.delete(pattern)
    typer.echo(f"✓ removed the price of {pattern}")
