"""What ``byom serve --greet`` shows: one completion through the gateway, and how to make the next one."""

from __future__ import annotations

import json
import shlex
import threading
from typing import TYPE_CHECKING

import typer

from byom.errors import ByomError

if TYPE_CHECKING:
    from byom.settings import Settings

MODEL = "extractive"
TEXT = (
    "BYOM connects a model once and lets everything use it. A model may be a server, weights, or Python code. "
    "Whatever it is made of, a model becomes an OpenAI-compatible upstream behind one gateway. "
    "The gateway keeps the keys, the limits and the cost of every call."
)


def greet(settings: Settings, url: str) -> None:
    """In a thread of its own: the hub's loop goes on."""
    threading.Thread(target=_greet, args=(settings, url), name="greeting", daemon=True).start()


def _greet(settings: Settings, url: str) -> None:
    from byom.client import Client

    key = None if settings.no_auth else settings.admin_key_file.read_text(encoding="utf-8").strip()
    try:
        with Client(url, key) as client:
            answer = client.chat(MODEL, f"Summarise: {TEXT}")
    except ByomError as error:
        typer.echo(f"The first completion failed: {error}", err=True)
        return
    typer.echo(f"\nA first completion, by the built-in model '{MODEL}':\n  {answer.text}")
    typer.echo(f"\nMake one yourself:\n{curl(settings, url)}")
    typer.echo("\nConnect a model of your own:\n  .venv/bin/byom connect NAME --url http://localhost:8000 --all")
    typer.echo("\nThe hub goes on serving; Ctrl-C stops it.")


def curl(settings: Settings, url: str) -> str:
    """A command to paste into a shell. The key is read from its file, so that it is not shown."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": f"Summarise: {TEXT}"}]})
    lines = [f"curl {url}/v1/chat/completions", "-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    if not settings.no_auth:
        lines.insert(1, f'-H "Authorization: Bearer $(cat {shlex.quote(str(settings.admin_key_file))})"')
    return "  " + " \\\n    ".join(lines)
