"""``byom usage``"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from byom.cli import options, output, periods

app = typer.Typer()


class By(StrEnum):
    model = "model"
    key = "key"
    user = "user"
    connection = "connection"
    day = "day"
    hour = "hour"


@app.command()
def usage(
    by: Annotated[By, typer.Option(help="What to add up by.")] = By.model,
    since: periods.Since = None,
    until: periods.Until = None,
    as_json: options.AsJson = False,
) -> None:
    """Add up calls, tokens and cost.

    A cost that is not known is shown as - and never counted as 0.

    \b
    Examples:
      byom usage
      byom usage --by day --since 7d
      byom usage --by key --json
    """
    with options.hub() as client:
        lines = client.usage(by.value, since=periods.ago(since, "--since"), until=periods.ago(until, "--until"))
    if as_json:
        output.print_json(lines)
        return
    columns = (by.value, "calls", "failed", "refused", "prompt", "completion", "cost", "without price")
    rows = [
        (
            f"{line['name']} ({line['label']})" if line.get("label") else line["name"],
            line["calls"],
            line["failed_calls"],
            line["refused_calls"],
            line["prompt_tokens"],
            line["completion_tokens"],
            output.money(line["cost"]),
            line["unpriced_calls"],
        )
        for line in lines
    ]
    output.table(columns, rows, empty="There were no calls.", right=frozenset(columns[1:]))
