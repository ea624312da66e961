"""``byom serve``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from byom.settings import Settings

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8420 by default, 0 for a free one.")] = None,
    home: Annotated[Path | None, typer.Option(help="The hub's folder; BYOM_HOME or ~/.byom by default.")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no keys; only on a loopback address.")] = False,
    workers: Annotated[int | None, typer.Option(help="Gateway processes; 1 by default.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="PEM file with the certificate chain, for HTTPS.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="PEM file with the certificate's private key.")] = None,
    database_url: Annotated[str | None, typer.Option(help="sqlite:///PATH or postgresql://…")] = None,
    config: Annotated[Path | None, typer.Option(help="A byom.toml; that of the home by default.")] = None,
    greet: Annotated[bool, typer.Option("--greet", help="Show one completion and a curl command once ready.")] = False,
) -> None:
    """Run a hub until it is told to stop (Ctrl-C, SIGTERM).

    Every option can also be a variable (BYOM_PORT) or stand in byom.toml under server.

    \b
    Examples:
      byom serve
      byom serve --port 0 --home /srv/byom
      byom serve --host 0.0.0.0 --ssl-certfile hub.pem --ssl-keyfile hub.key
    """
    from byom.server.address import everywhere
    from byom.server.serve import serve as run
    from byom.settings import load_settings

    flags = {
        "host": host,
        "port": port,
        "home": home,
        "no_auth": no_auth or None,
        "workers": workers,
        "log_level": log_level,
        "ssl_certfile": ssl_certfile,
        "ssl_keyfile": ssl_keyfile,
        "database_url": database_url,
    }
    settings = load_settings(flags, config=config)

    def ready(url: str) -> None:
        typer.echo(f"BYOM serves at {url}")
        if everywhere(settings):
            _show_others(settings, url)
        key = "none is needed (--no-auth)" if settings.no_auth else f"in {settings.admin_key_file}"
        typer.echo(f"Admin key: {key}")
        if greet:
            from byom.cli.greeting import greet as show

            show(settings, url)

    run(settings, on_ready=ready)


def _show_others(settings: Settings, url: str) -> None:
    """Who listens on all interfaces wants others to come, and should know that all can."""
    from byom.server.address import url_for_others

    others = url_for_others(settings, int(url.rpartition(":")[2]))
    found = f"at {others} (this machine's own address, a guess)" if others else "by a name or address of this machine"
    typer.echo(f"Other machines reach it {found}")
    clear = "" if settings.ssl_certfile else " Keys and prompts travel in clear: --ssl-certfile makes it HTTPS."
    typer.echo(
        f"Warning: it listens on all interfaces ({settings.host}): whoever reaches this machine reaches it.{clear}",
        err=True,
    )
