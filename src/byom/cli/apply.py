"""``byom apply``"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from byom.cli import options, output
from byom.errors import ByomError

app = typer.Typer()
_CALLED = "byom.toml"
"""What the hub calls the text that it is given."""


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A byom.toml; - reads standard input.")] = Path(
        "byom.toml"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Make the catalog as a byom.toml declares it.

    All of it or nothing. What the file declared before and no longer has is deleted; what was made otherwise stays.

    \b
    Examples:
      byom apply byom.toml --dry-run
      byom apply byom.toml --yes
    """
    text = _read(file)
    folder = None if str(file) == "-" else str(file.resolve().parent)
    with options.hub() as client, _of_the_file(file):
        plan = client.apply(text, dry_run=True, folder=folder)
        if not dry_run:
            if any(change["action"] == "delete" for change in plan["changes"]) and not yes:
                _show(plan)
                options.confirmed("This deletes something. Apply it?", yes=False)
            plan = client.apply(text, folder=folder)
    if as_json:
        output.print_json(plan)
    else:
        _show(plan)


def _read(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}", param_hint="FILE") from None


@contextlib.contextmanager
def _of_the_file(file: Path) -> Iterator[None]:
    """The hub sees a text; errors in it are told with the name of the file that was given."""
    try:
        yield
    except ByomError as error:
        name = "standard input" if str(file) == "-" else str(file)
        error.message = re.sub(rf"^{re.escape(_CALLED)}(?= line \d|:| is not valid)", lambda _: name, error.message)
        raise


def _show(plan: dict[str, Any]) -> None:
    signs = {"create": "+", "update": "~", "delete": "-"}
    for change in plan["changes"]:
        fields = f" ({', '.join(change['fields'])})" if change["fields"] else ""
        typer.echo(f"{signs[change['action']]} {change['kind']} {change['name']}{fields}")
    if not plan["changes"]:
        typer.echo("Nothing differs.")
    for warning in plan["warnings"]:
        output.note(f"! {warning}")
