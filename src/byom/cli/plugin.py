"""``byom plugin``"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byom.cli import options, output

if TYPE_CHECKING:
    from byom.host.plugins.environment import Plan
    from byom.host.plugins.folder import Plugin

app = typer.Typer(no_args_is_help=True, help="Plugin folders: models written in Python, with parameters and packages.")
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that has plugin.json.")]


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, - and _.")],
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="PATH", help="Where to write it; ./NAME by default.")
    ] = None,
) -> None:
    """Write a plugin to start from. It works as it is, with any OpenAI-compatible server.

    \b
    Examples:
      byom plugin new my-models
      byom plugin new my-models --dir ~/plugins/my-models
    """
    from byom.host.plugins.scaffold import scaffold

    place = folder or Path(name)
    written = scaffold(name, place)
    typer.echo(f"✓ wrote {place} with {len(written)} files")
    typer.echo(f"  Its model: {place / 'python-llms' / 'chat' / 'llm.py'}")
    typer.echo(f"  Next: byom plugin check {place}")


@app.command("install")
def install(
    archive: Annotated[Path, typer.Argument(metavar="ZIP", help="A zip file with plugin.json at its root.")],
    as_json: options.AsJson = False,
) -> None:
    """Unpack a plugin that comes as a zip file, below BYOM_HOME. Its models are made known with: byom add FOLDER

    \b
    Examples:
      byom plugin install my-models.zip
    """
    from byom.host.plugins import archive as archives
    from byom.settings import load_settings

    if not archive.is_file():
        raise typer.BadParameter(f"there is no file {archive}", param_hint="ZIP")
    plugin = archives.install(archive, load_settings().home)
    done = {"plugin": plugin.id, "version": plugin.version, "folder": str(plugin.folder)}
    output.done(done, f"unpacked {plugin.id} {plugin.version}. Next: byom add {plugin.folder}", as_json=as_json)


@app.command("show")
def show(folder: Folder, as_json: options.AsJson = False) -> None:
    """Show a plugin's models, what they can do, and the parameters that they take. None of its code runs.

    \b
    Examples:
      byom plugin show my-models
      byom plugin show my-models --json
    """
    from byom.host.plugins.folder import read
    from byom.host.plugins.form import form_of

    plugin = read(folder)
    if as_json:
        output.print_json(form_of(plugin))
        return
    typer.echo(f"{plugin.label} ({plugin.id} {plugin.version})")
    if plugin.description:
        typer.echo(plugin.description)
    _show_fields(plugin)


@app.command("check")
def check(folder: Folder, as_json: options.AsJson = False) -> None:
    """Find what is wrong with a plugin, with file, line and mend. None of its code runs. Ends with 1 for errors.

    \b
    Examples:
      byom plugin check my-models
      byom plugin check my-models --json
    """
    from byom.host.plugins.folder import examine

    plugin, findings = examine(folder)
    if as_json:
        keys = ("level", "file", "line", "message", "mend")
        output.print_json([{key: getattr(one, key) for key in keys} for one in findings.all])
    else:
        for one in findings.all:
            output.note(f"{'Error' if one.level == 'error' else 'Warning'}: {one}")
    if findings.errors or plugin is None:
        raise typer.Exit(1)
    if not as_json:
        models = ", ".join(one.id for one in plugin.components)
        typer.echo(f"✓ {plugin.id} {plugin.version} can be used: {models}")


@app.command("build")
def build(
    folder: Folder,
    as_json: options.AsJson = False,
) -> None:
    """Build the environment that a plugin's code runs in. One that is there already is kept.

    \b
    Examples:
      byom plugin build my-models
    """
    from byom.host.plugins import environment
    from byom.host.plugins.folder import read
    from byom.settings import load_settings

    plugin = read(folder)

    async def run() -> Plan | None:
        wanted = await environment.plan(plugin, load_settings().home)
        if wanted is not None:
            async for progress in environment.build(wanted):
                share = "    " if progress.fraction is None else f"{progress.fraction:4.0%}"
                output.note(f"{share}  {progress.text}")
        return wanted

    wanted = asyncio.run(run())
    python = str(wanted.python) if wanted else None
    text = f"{plugin.id} runs with {python}" if python else f"{plugin.id} needs no environment: it runs with BYOM's own"
    output.done({"plugin": plugin.id, "python": python}, text, as_json=as_json)


def _show_fields(plugin: Plugin) -> None:
    from byom.host.plugins.form import fields_of, requirement_lines

    groups = [("settings of the plugin", plugin.parameters)] if plugin.parameters else []
    groups += [
        (f"model {one.id}: {one.label} ({', '.join(one.abilities) or 'seen when it runs'})", one.parameters)
        for one in plugin.components
    ]
    groups += [(f"presets of {one.id}: {one.label}", one.parameters) for one in plugin.parameter_sets]
    for title, parameters in groups:
        typer.echo(f"\n{title}")
        rows = [
            (
                field["name"],
                field["type"],
                "yes" if field["required"] else "-",
                _default(field.get("default")),
                field["label"] + (" (each user's own)" if field.get("credential") else ""),
            )
            for field in fields_of(parameters)
            if field["name"]
        ]
        output.table(("parameter", "type", "required", "default", "label"), rows, empty="  no parameters")
    if plugin.code_env is not None:
        packages = requirement_lines(plugin.code_env.requirements)
        typer.echo(f"\npackages: {', '.join(packages) or 'none'}")
    for warning in plugin.warnings:
        output.note(f"Warning: {warning}")


def _default(value: object) -> object:
    return "-" if value is None else str(value)
