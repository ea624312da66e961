"""``byom keys``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from byom.cli import limit_options as limit
from byom.cli import options, output, periods
from byom.cli.complete import complete_model, complete_user
from byom.cli.remove import consequences
from byom.errors import Conflict, NotFound

if TYPE_CHECKING:
    from byom.client import Client

app = typer.Typer(no_args_is_help=True, help="Keys of callers: make, list, change, revoke.")
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="MODEL", help="May use this model; may be repeated.", autocompletion=complete_model
    ),
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    user: Annotated[str, typer.Option(help="Whose it is.", autocompletion=complete_user)] = "admin",
    model: Models = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may also manage the hub.")] = False,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="Until then: 30d, or 2026-12-31.")] = None,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a key. It is printed this once, alone on standard output, and kept nowhere.

    \b
    Examples:
      byom keys create notebook --model extractive --rpm 60
      export BYOM_API_KEY=$(byom keys create script --budget 5.00/month --expires 30d)
    """
    fields: dict[str, Any] = {
        "user": user,
        "role": "admin" if admin else "inference",
        "models": model or None,
        "expires_at": periods.ahead(expires, "--expires"),
        "limits": limit.given_limits(
            rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait
        ),
    }
    with options.hub() as client:
        made = client.keys.create(name, **{field: value for field, value in fields.items() if value is not None})
    if as_json:
        output.print_json(made)
        return
    output.note(f"Key {made['key']['id']} of {user}. Keep it now: it is not shown again.")
    typer.echo(made["token"])


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the keys; of each only its last characters are known.

    \b
    Examples:
      byom keys list
      byom keys list --all --json
    """
    with options.hub() as client:
        found = client.keys.list()
    if not every:
        found = [key for key in found if key["state"] in ("active", "disabled")]
    if as_json:
        output.print_json(found)
        return
    columns = ("id", "name", "user", "role", "key", "state", "models", "limits", "last used", "expires")
    rows = [
        (
            key["id"],
            key["name"],
            key["user"],
            key["role"],
            f"…{key['key_hint']}",
            key["state"],
            "all" if key["models"] is None else key["models"],
            output.limits(key["limits"]),
            output.moment(key["last_used_at"]),
            output.moment(key["expires_at"]),
        )
        for key in found
    ]
    output.table(columns, rows, empty="There are no keys. Make one with: byom keys create NAME")


@app.command("edit")
def edit(
    key: options.KeyId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    model: Models = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="It may use every model.")] = False,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="Until then: 30d, 2026-12-31, or never.")] = None,
    rpm: limit.Rpm = None,
    tpm: limit.Tpm = None,
    rate: limit.Rate = None,
    concurrency: limit.Concurrency = None,
    budget: limit.Budget = None,
    max_wait: limit.MaxWait = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Take its limits away.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Change a key's name, models, limits or expiry; the key itself stays.

    \b
    Examples:
      byom keys edit notebook --rpm 120
      byom keys edit 3fk2 --all-models --expires never
    """
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name
    if model or all_models:
        changes["models"] = None if all_models else model
    if expires is not None:
        changes["expires_at"] = None if expires == "never" else periods.ahead(expires, "--expires")
    limits = limit.given_limits(rpm=rpm, tpm=tpm, rate=rate, concurrency=concurrency, budget=budget, max_wait=max_wait)
    if limits is not None or no_limits:
        changes["limits"] = limits
    if not changes:
        raise typer.BadParameter("say what to change, for example --rpm 60", param_hint="KEY")
    with options.hub() as client:
        key_id = _id_of(client, key)
        changed = client.keys.update(key_id, **changes)
    output.done(changed, f"changed {key_id}: {', '.join(changes)}", as_json=as_json)


@app.command("revoke")
def revoke(key: options.KeyId, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Stop a key at once, for good.

    \b
    Examples:
      byom keys revoke notebook
      byom keys revoke 3fk2 --yes
    """
    with options.hub() as client:
        key_id = _id_of(client, key)
        named = key_id if key == key_id else f"{key} ({key_id})"
        if not yes:
            consequences(client.keys.revoke(key_id, dry_run=True))
        options.confirmed(f"Revoke the key {named}?", yes=yes)
        gone = client.keys.revoke(key_id)
    output.done(gone, f"revoked {named}", as_json=as_json)


def _id_of(client: Client, key: str) -> str:
    """The id of the key that has this id, else of the only one of this name that is not revoked.

    Raises `NotFound`, and `Conflict` with the ids where several have the name.
    """
    known = client.keys.list()
    if any(one["id"] == key for one in known):
        return key
    named = [one for one in known if one["name"] == key and one["state"] != "revoked"]
    if not named:
        raise NotFound(f"There is no key with the id or name {key!r}. See: byom keys list", code="key_not_found")
    if len(named) > 1:
        ids = "; ".join(f"{one['id']} of {one['user']}, ending in {one['key_hint']}" for one in named)
        raise Conflict(f"{len(named)} keys have the name {key!r}. Name one by its id: {ids}.")
    return str(named[0]["id"])


@app.command("reset-admin")
def reset_admin(yes: options.Yes = False) -> None:
    """Make a new admin key in the home folder's admin.key and revoke the one there. Works on the hub's machine only.

    \b
    Examples:
      byom keys reset-admin
    """
    import asyncio

    from byom.catalog.catalog import Catalog
    from byom.settings import load_settings

    settings = load_settings()
    options.confirmed(f"Replace the admin key in {settings.admin_key_file}?", yes=yes)

    async def reset() -> None:
        async with Catalog.session(settings) as catalog:
            await catalog.reset_admin_key()

    asyncio.run(reset())
    typer.echo(f"✓ a new admin key is in {settings.admin_key_file}")
