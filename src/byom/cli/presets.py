"""``byom presets``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from byom.cli import assignments, options, output
from byom.cli.complete import complete_connection
from byom.cli.remove import consequences

app = typer.Typer(no_args_is_help=True, help="Presets: named values of a plugin's parameter sets.")
Connection = Annotated[
    str, typer.Argument(metavar="CONNECTION", help="A connection of a plugin.", autocompletion=complete_connection)
]
PresetName = Annotated[str, typer.Argument(metavar="PRESET", help="The preset's name.")]
SecretStdin = Annotated[
    str | None, typer.Option("--secret-stdin", metavar="FIELD", help="Read this field's value from standard input.")
]


@app.command("list")
def list_(connection: Connection, as_json: options.AsJson = False) -> None:
    """List the presets of a connection.

    \b
    Examples:
      byom presets list openai
      byom presets list openai --json
    """
    with options.hub() as client:
        found = client.presets.list(connection)
    if as_json:
        output.print_json(found)
        return
    rows = [(one["name"], one["parameter_set"], one["models"], one["credentials"]) for one in found]
    output.table(("name", "parameter set", "models", "credentials"), rows, empty="There are no presets.")


@app.command("show")
def show(connection: Connection, preset: PresetName, as_json: options.AsJson = False) -> None:
    """Show a preset; of secret values their last characters.

    \b
    Examples:
      byom presets show openai OpenAI
    """
    with options.hub() as client:
        found = client.presets.get(connection, preset)
    if as_json:
        output.print_json(found)
        return
    secrets = {field: f"…{hint}" for field, hint in found["secrets"].items()}
    output.fields({name: value for name, value in found.items() if name not in ("id", "created_at", "updated_at")}
                  | {"secrets": secrets})  # fmt: skip


@app.command("create")
def create(
    connection: Connection,
    preset: PresetName,
    parameter_set: Annotated[
        str | None, typer.Option("--parameter-set", metavar="ID", help="Of which one, where the plugin has several.")
    ] = None,
    sets: assignments.Set = None,
    secret_stdin: SecretStdin = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a preset. What each user enters for themselves is no part of it.

    \b
    Examples:
      byom presets create openai OpenAI
      byom presets create lab shared --parameter-set server --set url=http://llm.example.org --secret-stdin password
    """
    with options.hub() as client:
        values = _values(sets, None, secret_stdin)
        made = client.presets.create(connection, preset, parameter_set=parameter_set, values=values)
    output.done(made, f"made the preset {preset} of {connection}", as_json=as_json)


@app.command("edit")
def edit(
    connection: Connection,
    preset: PresetName,
    sets: assignments.Set = None,
    unset: assignments.Unset = None,
    secret_stdin: SecretStdin = None,
    as_json: options.AsJson = False,
) -> None:
    """Change values of a preset.

    \b
    Examples:
      byom presets edit lab shared --set url=http://other.example.org
    """
    values = _values(sets, unset, secret_stdin)
    if not values:
        raise typer.BadParameter("say what to change, for example --set url=…", param_hint="PRESET")
    with options.hub() as client:
        changed = client.presets.update(connection, preset, values=values)
    output.done(changed, f"changed {preset}: {', '.join(values)}", as_json=as_json)


def _values(sets: list[str] | None, unset: list[str] | None, secret: str | None) -> dict[str, Any]:
    values = assignments.assigned(sets, unset)
    return values | ({secret: options.read_secret(secret)} if secret is not None else {})


@app.command("remove")
def remove(
    connection: Connection, preset: PresetName, yes: options.Yes = False, as_json: options.AsJson = False
) -> None:
    """Remove a preset, with the credentials that users entered for it.

    \b
    Examples:
      byom presets remove openai OpenAI --yes
    """
    with options.hub() as client:
        if not yes:
            consequences(client.presets.delete(connection, preset, dry_run=True))
        options.confirmed(f"Remove the preset {preset}?", yes=yes)
        gone = client.presets.delete(connection, preset)
    output.done(gone, f"removed the preset {preset}", as_json=as_json)
