"""Commands of `byom` as they stand in texts, held against the command line itself."""

from __future__ import annotations

import shlex

import typer

from byom.cli.main import COMMANDS, app

PROMISED = {"register", "launch", "stop", "ps", "engines", "eval", "concepts"}
"""Commands of the public contract that may come later than a text about them."""
PROMISED_OPTIONS = {("serve", "--ray")}


def wrong_with(text: str) -> str | None:
    """What is wrong with a `byom …` line, or nothing."""
    line = text.split("|")[-1].strip().split("$(")[0].split(" < ")[0].split(" > ")[0]
    words = shlex.split(line)[1:]
    if not words or words[0].startswith("-"):
        return None
    if words[0] not in COMMANDS:
        return None if words[0] in PROMISED else f"there is no byom {words[0]}"
    command = typer.main.get_command(app).get_command(None, words[0])  # type: ignore[attr-defined]
    path, rest = words[0], words[1:]
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        command = command.commands.get(rest[0])
        if command is None:
            return f"there is no byom {path} {rest[0]}"
        path, rest = f"{path} {rest[0]}", rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [
        word for word in rest if word.startswith("--") and word not in known and (path, word) not in PROMISED_OPTIONS
    ]
    return f"byom {path} has no {unknown[0]}" if unknown else None
