"""``byom doctor``"""

from __future__ import annotations

import typer

from byom.cli import output
from byom.cli.options import AsJson

app = typer.Typer()
_SIGNS = {"ok": "✓", "warning": "!", "failed": "✗"}


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this installation.

    Says how to mend what is wrong; the exit code is 1 when something is.

    \b
    Examples:
      byom doctor
      byom doctor --json
    """
    import asyncio

    import msgspec

    from byom.cli.health import examine

    findings = asyncio.run(examine())
    if as_json:
        output.print_json(
            {"ok": all(one.state != "failed" for one in findings), "checks": msgspec.to_builtins(findings)}
        )
    else:
        for one in findings:
            typer.echo(f"{_SIGNS[one.state]} {one.name}: {one.message}")
            if one.mend:
                typer.echo(f"    {one.mend}")
    if any(one.state == "failed" for one in findings):
        raise typer.Exit(1)
