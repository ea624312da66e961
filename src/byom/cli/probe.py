"""``byom probe``"""

from __future__ import annotations

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

    Says first what that will spend. What was found is kept with the model.

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
        report = client.models.probe(name, spend=True, kind=kind, timeout=timeout)
    if as_json:
        output.print_json(report)
    else:
        _show(report)


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
