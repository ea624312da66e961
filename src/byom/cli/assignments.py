"""``--set limits.concurrency=4``: any field of the management API by its name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any field, such as timeouts.idle=60; VALUE is JSON or text."),
]
Unset = Annotated[
    list[str] | None, typer.Option("--unset", metavar="FIELD", help="Back to the default; may be repeated.")
]


def assigned(sets: Sequence[str] | None, unsets: Sequence[str] | None) -> dict[str, Any]:
    """The changes as nested objects; what is unset is ``None``."""
    changes: dict[str, Any] = {}
    for text in sets or ():
        field, equals, value = text.partition("=")
        if not equals or not field.strip():
            raise typer.BadParameter(f"{field!r} is not FIELD=VALUE", param_hint="--set")
        _put(changes, field.strip(), _value(value))
    for field in unsets or ():
        _put(changes, field.strip(), None)
    return changes


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(changes: dict[str, Any], field: str, value: Any) -> None:
    *path, last = field.split(".")
    for part in path:
        inner = changes.setdefault(part, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"{field} contradicts another field that was given", param_hint="--set")
        changes = inner
    changes[last] = value
