"""``byom chat``"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def chat(
    model: options.ModelName,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to say; - or nothing reads standard input.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 for the likeliest answer.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer, in tokens.")] = None,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer when it is whole.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer's JSON, whole.")] = False,
) -> None:
    """Ask a model, or talk with it.

    The answer is printed as it comes. Without a prompt, at a terminal, this is a conversation.

    \b
    Examples:
      byom chat extractive "The first sentence. The second one."
      byom chat extractive --max-tokens 20 < report.txt
      byom chat extractive "Hello" --json
      byom chat extractive
    """
    params: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
    if prompt is None and sys.stdin.isatty():
        from byom.cli.conversation import converse

        with options.hub() as client:
            converse(client, model, system, params)
        return
    text = sys.stdin.read() if prompt in (None, "-") else prompt
    if not text or not text.strip():
        raise typer.BadParameter("there is nothing to say", param_hint="PROMPT")
    with options.hub() as client:
        if as_json:
            output.print_json(client.chat(model, text, system=system, stream=False, **params).raw)
        elif no_stream:
            typer.echo(client.chat(model, text, system=system, stream=False, **params).text)
        else:
            _stream(client, model, text, system, params)


def _stream(client: Any, model: str, text: str, system: str | None, params: dict[str, Any]) -> None:
    with client.chat(model, text, system=system, stream=True, **params) as pieces:
        for piece in pieces:
            sys.stdout.write(piece.text)
            sys.stdout.flush()
    sys.stdout.write("\n")
