"""``byom version``"""

from __future__ import annotations

import platform

import typer

from byom import __version__
from byom.cli import output
from byom.cli.options import AsJson

app = typer.Typer()


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version.

    \b
    Examples:
      byom version
      byom version --json
    """
    if as_json:
        output.print_json({"version": __version__, "python": platform.python_version()})
    else:
        typer.echo(f"byom {__version__}")
