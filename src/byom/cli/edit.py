"""``byom edit``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from byom.cli import assignments, options, output, thing
from byom.cli import limit_options as limit

app = typer.Typer()
_OF_CONNECTIONS = ("url", "key", "headers", "ca_file")
_OF_MODELS = ("abilities", "context_window", "fallbacks", "price", "upstream_model", "cache")


@app.command()
def edit(
    name: options.Thing,
    url: Annotated[
        str | None, typer.Option(help="Connection: another URL. On another host the key is needed again.")
    ] = None,
    key: options.Key = None,
    key_env: options.KeyEnv = None,
    key_stdin: options.KeyStdin = False,
    header: options.Headers = None,
    ca_file: options.CaFile = None,
    ability: Annotated[list[str] | None, typer.Option(help="Model: what it can do; may be repeated.")] = None,
    context_window: Annotated[int | None, typer.Option(min=1, help="Model: tokens.")] = None,
    fallback: Annotated[
        list[str] | None, typer.Option(help="Model: what to try when it fails; may be repeated.")
    ] = None,
    upstream_model: Annotated[str | None, typer.Option(help="Model: the name that its server knows.")] = None,
    price: Annotated[
        str | None, typer.Option(metavar="INPUT/OUTPUT", help="Model: dollars per million tokens, such as 0.15/0.60.")
    ] = None,
    cache: Annotated[float | None, typer.Option(min=0, help="Model: seconds to keep answers for equal calls.")] = None,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it can be called.")] = None,
    sets: assignments.Set = None,
    unset: assignments.Unset = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Save a connection without testing it again.")] = False,
    model: thing.AsModel = False,
    connection: thing.AsConnection = False,
    as_json: options.AsJson = False,
) -> None:
    """Change a model or a connection.

    What is not named stays as it is; calls under way are not disturbed.

    \b
    Examples:
      byom edit fake-model --rpm 60 --fallback extractive
      byom edit fake-model --price 0.15/0.60
      byom edit box --connection --url http://localhost:8001 --set timeouts.idle=60
      byom edit box --disable
    """
    given = {
        "url": url,
        "key": options.given_key(key, key_env, key_stdin=key_stdin),
        "headers": options.given_headers(header),
        "ca_file": ca_file,
        "abilities": ability or None,
        "context_window": context_window,
        "fallbacks": fallback or None,
        "upstream_model": upstream_model,
        "price": None if price is None else parse_price(price),
        "cache": None if cache is None else {"seconds": cache},
        "limits": limit.given_limits(
            rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait
        ),
        "enabled": enabled,
    }
    changes = _merged({field: value for field, value in given.items() if value is not None}, sets, unset)
    if not changes:
        raise typer.BadParameter("say what to change, for example --rpm 60", param_hint="NAME")
    with options.hub() as client:
        found = thing.find(client, name, model=model, connection=connection)
        _check_kind(found.kind, changes)
        checking = {"check": False} if no_check and found.kind == "connection" else {}
        changed = found.collection.update(found.name, **changes, **checking)
    output.done(changed, f"changed {found.name}: {', '.join(changes)}", as_json=as_json)


def parse_price(text: str) -> dict[str, str]:
    """``{"input": "0.15", "output": "0.60"}`` of ``0.15/0.60``; one number is for both."""
    parts = [part.strip().removeprefix("$") for part in text.split("/")]
    if len(parts) not in (1, 2) or not all(part.replace(".", "", 1).isdigit() for part in parts):
        raise typer.BadParameter(f"{text!r} is not INPUT/OUTPUT, such as 0.15/0.60", param_hint="--price")
    return {"input": parts[0], "output": parts[-1]}


def _merged(given: dict[str, Any], sets: list[str] | None, unset: list[str] | None) -> dict[str, Any]:
    for field, value in assignments.assigned(sets, unset).items():
        present = given.get(field)
        given[field] = present | value if isinstance(present, dict) and isinstance(value, dict) else value
    return given


def _check_kind(kind: str, changes: dict[str, Any]) -> None:
    wrong = [field for field in (_OF_MODELS if kind == "connection" else _OF_CONNECTIONS) if field in changes]
    if wrong:
        other = "model" if kind == "connection" else "connection"
        raise typer.BadParameter(f"{', '.join(wrong)}: a {kind} has no such field, a {other} does", param_hint="NAME")
