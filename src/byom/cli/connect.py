"""``byom connect``"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from byom.cli import agent_studio, options, output
from byom.cli import limit_options as limit
from byom.errors import Conflict

Dialect = Literal["openai", "agentstudio"]
app = typer.Typer()


@app.command()
def connect(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the connection.")],
    url: Annotated[str, typer.Option("--url", help="The server's URL as you have it: with or without /v1.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="ID[=NAME]", help="A model of the server, and what to call it here; may be repeated."
        ),
    ] = None,
    called: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call the model here, where it is one.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All models that the server lists.")] = False,
    key: options.Key = None,
    key_env: options.KeyEnv = None,
    key_stdin: options.KeyStdin = False,
    header: options.Headers = None,
    ca_file: options.CaFile = None,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    dialect: Annotated[
        Dialect, typer.Option("--dialect", help="What the server speaks; agentstudio is AgentStudio's model server.")
    ] = "openai",
    no_check: Annotated[bool, typer.Option("--no-check", help="Save it without testing it.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Connect an OpenAI-compatible server and use its models.

    The connection is tested first, without spending tokens; what is wrong is said precisely, and then nothing is saved.

    \b
    Examples:
      byom connect box --url http://localhost:8000 --all
      byom connect lab --url https://llm.example.org/v1 --model mistral-7b --key-env LAB_KEY --rpm 60
      byom connect lab --url https://llm.example.org/v1 --model mistral-7b=small --model mixtral=large
      byom connect tgi --url http://tgi:8080/v1/chat/completions --model tgi --budget 5.00/month
      byom connect studio --url http://studio:8000 --dialect agentstudio --model gpt-4o
    """
    _check_names(model, called, every=every)
    fields: dict[str, Any] = {
        "headers": options.given_headers(header),
        "ca_file": ca_file,
        "limits": limit.given_limits(
            rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait
        ),
    }
    fields = {field: value for field, value in fields.items() if value is not None}
    secret = options.given_key(key, key_env, key_stdin=key_stdin)
    if dialect == "agentstudio":
        plain = not header and not no_check
        agent_studio.connect(
            name, url, dict(map(_named, model or [])), called, secret, fields, plain=plain, as_json=as_json
        )
        return
    with options.hub() as client:
        wanted = dict(map(_named, model or []))
        if not wanted and not every and (called or not no_check):
            place: dict[str, Any] = {field: fields[field] for field in ("headers", "ca_file") if field in fields}
            only = _only_model(client, url, secret, place)
            wanted = {only: only}
        if called:
            wanted = dict.fromkeys(wanted, called)
        try:
            saved = client.connect(name, url, models=wanted, all=every, key=secret, check=not no_check, **fields)
        except Conflict as conflict:
            raise _with_advice(conflict) from None
    _show(saved, as_json=as_json)


def _check_names(model: list[str] | None, called: str | None, *, every: bool) -> None:
    if model and every:
        raise typer.BadParameter("give either --model or --all", param_hint="--all")
    if called and (every or len(model or ()) > 1 or any("=" in one for one in model or ())):
        raise typer.BadParameter("it names one model; of several write --model ID=NAME", param_hint="--as")


def _named(model: str) -> tuple[str, str]:
    """The server's name and the one to use here, from ``ID`` or ``ID=NAME``."""
    server, _, name = model.partition("=")
    if not server or (not name and "=" in model):
        raise typer.BadParameter("write --model ID, or --model ID=NAME", param_hint="--model")
    return server, name or server


def _with_advice(conflict: Conflict) -> Conflict:
    """A taken name of a model can be helped here: say how."""
    taken = conflict.details
    if {"model", "name", "owner", "free"} <= taken.keys():
        conflict.message = (
            f"There is a model {taken['name']!r} already, of connection {taken['owner']!r}. Nothing was saved.\n"
            f"  Give this one another name: --model {taken['model']}={taken['free']}"
        )
    return conflict


def _only_model(client: Any, url: str, key: str | None, place: dict[str, Any]) -> str:
    """The server's model, when it has just one: nobody has to name that."""
    report = client.connections.check_unsaved(url, **({"key": key} if key else {}), **place)
    if not report["ok"]:
        output.check_problems(report)
        raise typer.Exit(1)
    names = [model["id"] for model in report["models"]]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise typer.BadParameter("the server lists no models: name one", param_hint="--model")
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise typer.BadParameter(f"the server has {shown}: choose with --model, or take --all", param_hint="--model")


def _show(saved: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(saved)
        return
    report, connection = saved.get("check"), saved["connection"]
    if report:
        server = f" ({report['server']})" if report.get("server") else ""
        took = f" in {report['latency_ms']:.0f} ms" if report.get("latency_ms") is not None else ""
        typer.echo(f"✓ {report['url']} answers{server}{took}")
        output.check_problems(report)
    names = [model["name"] for model in saved["models"]]
    typer.echo(f"✓ connected {connection['name']} with {len(names)} model{'' if len(names) == 1 else 's'}")
    for model in saved["models"]:
        window = f", {model['context_window']} tokens" if model.get("context_window") else ""
        typer.echo(f"  {model['name']}  ({', '.join(model['abilities'])}{window})")
    if names:
        typer.echo(f'Try: byom chat {names[0]} "Hello"')
