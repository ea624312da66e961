"""The program ``byom``. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from byom import __version__
from byom.cli import output
from byom.errors import ByomError

COMMANDS = (
    "serve", "demo", "connect", "add", "register", "specs", "unregister", "launch", "stop", "ps", "engines", "cached",
    "models", "show", "probe", "edit", "rename", "remove", "logs", "restart", "chat", "embed", "keys", "users",
    "prices", "host", "plugin", "presets", "credentials", "settings", "usage", "calls", "apply", "export", "doctor",
    "version",
)  # fmt: skip
"""In the order of ``byom --help``; ``byom NAME`` is ``app`` of the module ``byom.cli.NAME``."""


class LazyCommands(TyperGroup):
    """Imports a command with its first use, and turns BYOM's errors into a line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            # What the suggestion for a mistyped name is chosen from.
            self.commands.update({name: self.commands.get(name) or _load(name) for name in COMMANDS})
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands[cmd_name]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ByomError as error:
            output.problem(error)
            raise typer.Exit(1) from None


def _load(name: str) -> Any:
    command = typer.main.get_command(importlib.import_module(f"byom.cli.{name}").app)
    command.name = name
    return command


def _version(value: bool) -> None:
    if value:
        typer.echo(f"byom {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def byom(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Connect any model once, use it everywhere.

    Commands talk to the hub that BYOM_URL and BYOM_API_KEY name, else to the one that runs for BYOM_HOME (~/.byom).
    Where none runs, they do their work themselves in that folder.

    \b
    Examples:
      byom serve
      byom connect box --url http://localhost:8000 --all
      byom add models.py:my_model
      byom launch guide
      byom chat extractive "What is this about? ..."
    """


def main() -> None:
    """Entry point. Exit codes: 0 success, 2 wrong usage, 1 anything else; messages go to standard error."""
    app(prog_name="byom")
