"""``byom probe``"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from byom.cli import options, output

app = typer.Typer()


@app.command()
def probe(
    name: options.ModelName,
    kind: Annotated[str, typer.Option(help="What the model is for: chat, embed, rerank; or auto.")] = "auto",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for each call.")] = 60.0,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Find out what a model can do by asking it.

    Says first what that will spend, then what it finds, step by step. What was found is kept with the model.

    \b
    Examples:
      byom probe fake-model
      byom probe fake-model --yes --json
    """
    with options.hub() as client:
        plan = client.models.probe_plan(name, kind=kind)
        output.note(
            f"Probing {plan['model']} makes up to {plan['calls']} calls: about {plan['prompt_tokens']} tokens of "
            f"prompts, at most {plan['max_tokens']} tokens of answers ({', '.join(plan['steps'])})."
        )
        options.confirmed("Spend that?", yes=yes)
        with _progress(shown=not as_json) as progress:
            report = client.models.probe(name, spend=True, kind=kind, timeout=timeout, progress=progress)
    if as_json:
        output.print_json(report)
    else:
        _show(report)


@contextlib.contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[str, dict[str, Any]], None] | None]:
    """Tells each finding as soon as it is there: on standard error, which a terminal shows at work meanwhile."""
    if not shown:
        yield None
        return
    if not sys.stderr.isatty():
        yield lambda ability, finding: output.note(_line(ability, finding))
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("Probing …"):
        yield lambda ability, finding: console.print(_line(ability, finding), markup=False)


def _line(ability: str, finding: dict[str, Any]) -> str:
    sign = {"yes": "✓", "no": "✗"}.get(finding["value"], "?")
    return f"{sign} {ability}: {finding['evidence']}"


def _show(report: dict[str, Any]) -> None:
    rows = [(ability, finding["value"], finding["evidence"]) for ability, finding in report["findings"].items()]
    output.table(("ability", "can", "evidence"), rows, empty="Nothing was found out.")
    usage = report["usage"]
    output.fields(
        {
            "abilities": report["abilities"],
            "context window": report["context_window"],
            "dimensions": report["dimensions"],
            "first token": None if report["first_token_ms"] is None else f"{report['first_token_ms']:.1f} ms",
            "spent": f"{report['calls']} calls, {usage['prompt_tokens']} + {usage['completion_tokens']} tokens",
            "cost": output.money(report["cost"]),
        }
    )
