"""``byom launch``"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from byom.cli import assignments, options, output

app = typer.Typer()


@app.command()
def launch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of a registered spec.")],
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help="LLM, embedding or rerank.")] = "LLM",
    uid: Annotated[str | None, typer.Option("--uid", help="What to call it; by default NAME.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine; see byom engines.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="pytorch, ggufv2, gptq, awq, …")] = None,
    size: Annotated[str | None, typer.Option(help="Billions of parameters, such as 7 or 1.8.")] = None,
    quantization: Annotated[str | None, typer.Option(help="Such as none, 4-bit, Int4 or Q4_K_M.")] = None,
    replicas: Annotated[int, typer.Option(min=1, max=64, help="Processes; a call goes to the least busy.")] = 1,
    n_gpu: Annotated[str, typer.Option(help="GPUs of each replica: a number, or auto.")] = "auto",
    gpu_idx: Annotated[str | None, typer.Option(metavar="N,N…", help="Which GPUs, for all replicas together.")] = None,
    context: Annotated[int | None, typer.Option("--context", min=1, help="Tokens of one call.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Calls that a replica answers at the same time.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An argument of the engine; may be repeated.")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="Weights on the hub's machine to take instead of the spec's.")
    ] = None,
    idle_unload: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Unload it after so long without a call.")
    ] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Never unload it by itself.")] = False,
    evict: Annotated[
        bool, typer.Option("--evict", help="Where memory is short, unload what was not used for longest.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what would be launched, and why; start nothing.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is ready.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Launch a registered model.

    Its weights are fetched where they are not here yet, and an engine that suits them is started. Ctrl-C cancels it.

    \b
    Examples:
      byom launch guide
      byom launch my-model --context 8192 --replicas 2 --idle-unload 600
      byom launch my-model --engine vllm --set gpu_memory_utilization=0.8 --explain
    """
    fields: dict[str, Any] = {
        "model_type": type_, "uid": uid or name, "engine": engine, "format": format_, "size": size,
        "quantization": quantization, "replicas": replicas, "n_gpu": _gpus(n_gpu), "gpu_idx": _indices(gpu_idx),
        "context_length": context, "slots": slots, "engine_arguments": assignments.assigned(sets, None) or None,
        "model_path": path, "idle_unload_seconds": idle_unload, "pinned": pinned or None, "evict": evict or None,
    }  # fmt: skip
    with options.hub() as client:
        if explain:
            _show_explanation(client.launches.explain(name, **fields), as_json=as_json)
            return
        hear = None if as_json else _Progress()
        running = client.launches.start(name, on_event=hear, wait=not no_wait, **fields)
        alone = client.place.in_process
    if as_json:
        output.print_json(running)
        return
    _show(running)
    if alone:
        output.note("No hub runs. It is loaded again with a call, and with the next: byom serve")


def _gpus(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal():
        raise typer.BadParameter("give a number, or auto", param_hint="--n-gpu")
    return int(text)


def _indices(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter("give numbers with commas between, such as 0,1", param_hint="--gpu-idx")
    return [int(part) for part in parts]


class _Progress:
    """Says what is being done, one line for each stage, and how far the fetching is at every tenth."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, kind: str, news: Mapping[str, Any]) -> None:
        if kind != "stage" or news.get("state") == "ready":
            return
        text = str(news.get("text", ""))
        files = news.get("files") or []
        total = sum(one["total"] or 0 for one in files)
        if total:
            done = sum(one["done"] for one in files)
            text += f" {10 * int(10 * done / total)} % of {total / 1e6:.0f} MB"
        if text and text != self._said:
            self._said = text
            output.note(f"… {text}")


def _show(running: dict[str, Any]) -> None:
    uid, state = running["uid"], running["state"]
    what = f"{running['engine']}, {running['format']} {running['quantization']}"
    typer.echo(f"✓ {uid} is {state} ({what})")
    abilities = running["abilities"]
    if "chat" in abilities:
        typer.echo(f'Try: byom chat {uid} "Hello"')
    elif "embed" in abilities:
        typer.echo(f'Try: byom embed {uid} "Hello"')
    else:
        typer.echo("See: byom ps")


def _show_explanation(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    shown = {name: found[name] for name in ("engine", "format", "size", "quantization", "context_length")}
    output.fields(shown | {"abilities": found["abilities"], "arguments": found["engine_arguments"]})
    for line in (*found["reasons"], *found["notes"]):
        typer.echo(f"- {line}")
