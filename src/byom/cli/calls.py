"""``byom calls``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from byom.cli import options, output, periods
from byom.cli.complete import complete_connection, complete_key, complete_model, complete_user

app = typer.Typer()


@app.command()
def calls(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="The next page: `next` of the page before.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.", autocompletion=complete_model)] = None,
    key: Annotated[str | None, typer.Option(help="Only this key's id.", autocompletion=complete_key)] = None,
    user: Annotated[str | None, typer.Option(help="Only this user.", autocompletion=complete_user)] = None,
    connection: Annotated[
        str | None, typer.Option(help="Only this connection.", autocompletion=complete_connection)
    ] = None,
    state: Annotated[str | None, typer.Option(help="ok, error, cancelled, refused or cached.")] = None,
    since: periods.Since = None,
    until: periods.Until = None,
    as_json: options.AsJson = False,
) -> None:
    """List single calls, newest first.

    \b
    Examples:
      byom calls
      byom calls --state error --since 24h
      byom calls --model extractive --limit 100 --json
    """
    where = {
        "model": model,
        "key": key,
        "user": user,
        "connection": connection,
        "state": state,
        "since": periods.ago(since, "--since"),
        "until": periods.ago(until, "--until"),
    }
    with options.hub() as client:
        page = client.calls(limit, cursor=cursor, **where)
    if as_json:
        output.print_json(page)
        return
    columns = ("at", "model", "key", "status", "state", "prompt", "completion", "cost", "ms", "first ms", "error")
    rows = [_row(call) for call in page["data"]]
    output.table(
        columns,
        rows,
        empty="There were no calls.",
        right=frozenset({"status", "prompt", "completion", "cost", "ms", "first ms"}),
    )
    if page["next"]:
        output.note(f"More: byom calls --cursor {page['next']}")


def _row(call: dict[str, Any]) -> tuple[Any, ...]:
    first = call["first_token_ms"]
    mark = "~" if call["estimated"] else ""
    return (
        output.moment(call["at"]),
        call["model"],
        call["key"],
        call["status"],
        call["state"],
        f"{mark}{call['prompt_tokens']}",
        f"{mark}{call['completion_tokens']}",
        output.money(call["cost"]),
        f"{call['latency_ms']:.1f}",
        None if first is None else f"{first:.1f}",
        call["error"],
    )
