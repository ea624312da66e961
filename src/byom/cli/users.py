"""``byom users``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from byom.cli import limit_options as limit
from byom.cli import options, output
from byom.cli.complete import complete_user
from byom.cli.remove import consequences

app = typer.Typer(no_args_is_help=True, help="Users, whom keys belong to: make, list, change, remove.")
UserName = Annotated[str, typer.Argument(metavar="NAME", help="A user's name.", autocompletion=complete_user)]


@app.command("list")
def list_(as_json: options.AsJson = False) -> None:
    """List the users.

    \b
    Examples:
      byom users list --json
    """
    with options.hub() as client:
        found = client.users.list()
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            user["name"],
            user["role"],
            user["keys"],
            output.limits(user["limits"]),
            "disabled" if user["disabled"] else "ok",
        )
        for user in found
    ]
    columns = ("name", "role", "keys", "limits", "state")
    output.table(columns, rows, empty="There are no users.", right=frozenset({"keys"}))


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new user's name.")],
    admin: Annotated[bool, typer.Option("--admin", help="May have keys that manage the hub.")] = False,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a user; its limits hold for all its keys together.

    \b
    Examples:
      byom users create ann --budget 20/month
    """
    limits = limit.given_limits(rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait)
    fields: dict[str, Any] = {"role": "admin" if admin else "inference"} | ({"limits": limits} if limits else {})
    with options.hub() as client:
        made = client.users.create(name, **fields)
    output.done(made, f"made the user {name}. Make a key with: byom keys create NAME --user {name}", as_json=as_json)


@app.command("edit")
def edit(
    name: UserName,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Disabling stops all its keys.")] = None,
    admin: Annotated[bool | None, typer.Option("--admin/--no-admin", help="May manage the hub.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Change a user; it acts on all its keys at once.

    \b
    Examples:
      byom users edit ann --disable
      byom users edit ann --budget 50/month
    """
    limits = limit.given_limits(rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait)
    changes: dict[str, Any] = {"limits": limits} if limits else {}
    if enabled is not None:
        changes["disabled"] = not enabled
    if admin is not None:
        changes["role"] = "admin" if admin else "inference"
    if not changes:
        raise typer.BadParameter("say what to change, for example --disable", param_hint="NAME")
    with options.hub() as client:
        changed = client.users.update(name, **changes)
    output.done(changed, f"changed {name}: {', '.join(changes)}", as_json=as_json)


@app.command("remove")
def remove(name: UserName, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Remove a user and all its keys.

    \b
    Examples:
      byom users remove ann --yes
    """
    with options.hub() as client:
        if not yes:
            consequences(client.users.delete(name, dry_run=True))
        options.confirmed(f"Remove the user {name}?", yes=yes)
        gone = client.users.delete(name)
    output.done(gone, f"removed the user {name}", as_json=as_json)
