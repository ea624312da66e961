"""``byom export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byom.cli import options

app = typer.Typer()


@app.command()
def export(
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there.", dir_okay=False)] = None,
) -> None:
    """Print a byom.toml of what there is.

    It holds no secrets, and applying it here changes nothing.

    \b
    Examples:
      byom export > byom.toml
      byom export --output byom.toml
    """
    with options.hub() as client:
        text = client.export()
    if file is None:
        typer.echo(text, nl=False)
    else:
        file.write_text(text, encoding="utf-8")
