"""``byom demo``"""

from __future__ import annotations

import typer

app = typer.Typer()


@app.command()
def demo() -> None:
    """Take a tour, offline, in a few seconds.

    A hub, an endpoint, chat, streaming, embeddings, a limit, the ledger.
    Nothing is left behind: the hub of the tour has a temporary home folder and a free port, and ends with the tour.

    \b
    Examples:
      byom demo
    """
    from byom.cli.tour import run

    run()
