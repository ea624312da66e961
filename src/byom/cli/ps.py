"""``byom ps``"""

from __future__ import annotations

import time
from typing import Any

import typer

from byom.cli import options, output

app = typer.Typer()
COLUMNS = ("name", "kind", "state", "what", "replicas", "memory", "pid", "since")


@app.command()
def ps(as_json: options.AsJson = False) -> None:
    """List what runs: launched models, and the processes of code.

    \b
    Examples:
      byom ps
      byom ps --json
    """
    with options.hub() as client:
        launches = client.launches.list()
        code = [
            {"name": one["name"], "kind": "code", **client.connections.host(one["name"])}
            for one in client.connections.list()
            if one["kind"] == "code"
        ]
    if as_json:
        output.print_json({"launches": launches, "code": code})
        return
    rows = [*map(_launched, launches), *map(_hosted, code)]
    output.table(COLUMNS, rows, empty="Nothing runs. Launch a model: byom launch NAME")
    for one in launches:
        if one["state"] == "failed":
            output.note(f"{one['uid']}: {one['reason']}")


def _launched(one: dict[str, Any]) -> tuple[Any, ...]:
    replicas = one["replicas"]
    ready = sum(replica["state"] == "ready" for replica in replicas)
    memory = sum(replica["memory"] or 0 for replica in replicas)
    state = one["state"]
    if state in ("downloading", "loading", "queued"):
        state = f"{state} {100 * one['stage']['fraction']:.0f} %"
    return (
        one["uid"],
        one["model_type"],
        state,
        f"{one['engine']} {one['format']} {one['quantization']}",
        f"{ready}/{one['wanted_replicas']}",
        _size(memory),
        [replica["pid"] for replica in replicas if replica["pid"]],
        _ago(one["created_at"]),
    )


def _hosted(one: dict[str, Any]) -> tuple[Any, ...]:
    models = [model["name"] for model in one["models"]]
    return one["name"], "code", one["state"], models, None, None, None, _ago(one["since"])


def _size(count: int) -> str | None:
    if not count:
        return None
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _ago(moment: float | None) -> str | None:
    if not moment:
        return None
    seconds = max(0, int(time.time() - moment))
    for unit, step in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= step:
            return f"{seconds // step} {unit}"
    return f"{seconds} s"
