"""``byom add``"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from byom.cli import assignments, options, output
from byom.cli import limit_options as limit

app = typer.Typer()


Model = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="ID[:NAME]", help="A model of the code (of a plugin: a component); repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PARAM=VALUE", help="A plugin's parameter; NAME.PARAM is for one model alone."),
]
Preset = Annotated[
    list[str] | None,
    typer.Option("--preset", metavar="PARAM=PRESET", help="The preset for a parameter; made where it is not there."),
]
Arg = Annotated[
    list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help="Handed to the code; may be repeated.")
]


@app.command()
def add(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="file.py:object, module:object, or the folder of a plugin.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call the connection; after the code.")
    ] = None,
    model: Model = None,
    sets: Set = None,
    preset: Preset = None,
    args: Arg = None,
    key: options.Key = None,
    key_env: options.KeyEnv = None,
    key_stdin: options.KeyStdin = False,
    python: Annotated[
        str | None, typer.Option("--python", metavar="PATH", help="The interpreter of the code's environment.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that run the code.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Calls at once in each process.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds for one call.")] = None,
    memory_mb: Annotated[int | None, typer.Option(min=1, help="Memory of a process, in MiB.")] = None,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    eager: Annotated[bool, typer.Option("--eager", help="Start it with the hub, not with the first call.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Make Python code into models: a function, a class, or a plugin's folder.

    The code is loaded first, in an environment of its own for a plugin; what is wrong is said, and then nothing is
    saved. It runs in processes of its own, on the machine of the hub.

    \b
    Examples:
      byom add models.py:gemini --key-env GEMINI_API_KEY
      byom add my_models:Local --name lab --workers 2 --memory-mb 4000
      byom add ./tutorial-llm-connection --name openai --model custom-chat-plugin:gpt --set model=gpt-4o-mini
    """
    fields: dict[str, Any] = {
        "python": None if python is None else str(Path(python).expanduser().absolute()),
        "workers": workers,
        "threads": threads,
        "timeout": timeout,
        "memory_mb": memory_mb,
        "eager": eager or None,
        "args": assignments.assigned(args, None) or None,
        "limits": limit.given_limits(
            rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait
        ),
    }
    fields = {field: value for field, value in fields.items() if value is not None}
    params = assignments.assigned([*(sets or ()), *(preset or ())], None)
    wanted = wanted_models(model, params)
    secret = options.given_key(key, key_env, key_stdin=key_stdin)
    whole = whole_target(target)
    with options.hub() as client:
        hear = None if as_json else _Progress()
        saved = client.add(whole, name=name, models=wanted, key=secret, on_event=hear, **fields)
        asked = [one for one in client.credentials.list() if one["connection"] == saved["connection"]["name"]]
    show(saved, asked, as_json=as_json)


def whole_target(text: str) -> str:
    """The target as a hub in another folder understands it."""
    place, colon, name = text.rpartition(":")
    if not colon or not name.replace(".", "").isidentifier():
        place, colon, name = text, "", ""
    path = Path(place).expanduser()
    if not colon or place.endswith(".py") or "/" in place or path.exists():
        return f"{path.resolve()}{colon}{name}"
    return text


def wanted_models(models: Sequence[str] | None, params: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """``None`` for all. ``params`` go to every model, ``NAME.param`` to the one of that name."""
    if not models:
        return [{"params": dict(params)}] if params else None
    pairs = [one.partition(":") for one in models]
    names = {name or id_ for id_, _, name in pairs}
    shared = {param: value for param, value in params.items() if param not in names}
    found: list[dict[str, Any]] = []
    for id_, _, name in pairs:
        if not id_:
            raise typer.BadParameter("write --model ID, or --model ID:NAME", param_hint="--model")
        own = params.get(name or id_)
        entry: dict[str, Any] = {"id": id_} | ({"name": name} if name else {})
        given = shared | (dict(own) if isinstance(own, Mapping) else {})
        found.append(entry | ({"params": given} if given else {}))
    return found


class _Progress:
    """Says what is being done, one line for each stage."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, kind: str, news: Mapping[str, Any]) -> None:
        text = str(news.get("text", "")).rstrip()
        if kind != "output" and text and text != self._said:
            self._said = text
            output.note(f"… {text}")


def show(saved: dict[str, Any], asked: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What was added, and ``asked``: the credentials that it wants."""
    if as_json:
        output.print_json(saved)
        return
    connection, models = saved["connection"], saved["models"]
    kind = connection["options"].get("form", "code")
    typer.echo(f"✓ added {connection['name']} ({kind}) with {len(models)} model{'' if len(models) == 1 else 's'}")
    for model in models:
        window = f", {model['context_window']} tokens" if model.get("context_window") else ""
        typer.echo(f"  {model['name']}  ({', '.join(model['abilities'])}{window})")
    missing = [one for one in asked if not one["is_set"]]
    if missing:
        typer.echo(f"Each user enters their own credential: byom credentials set {connection['name']}")
    elif models:
        typer.echo(f'Try: byom chat {models[0]["name"]} "Hello"')
