"""Times as people write them: ``7d``, ``2026-03-31``, ``2026-03-31T13:00``."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Annotated

import typer

Since = Annotated[str | None, typer.Option(metavar="TIME", help="From then on: 24h, 7d, 2026-03-31, 2026-03-31T13:00.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def ago(text: str | None, option: str) -> float | None:
    """Seconds since the epoch of a time in the past; local time where no zone is named."""
    if text is None:
        return None
    length = _length(text)
    return _moment(text, option) if length is None else time.time() - length


def ahead(text: str | None, option: str) -> float | None:
    """The same for the future: ``30d`` is in thirty days."""
    if text is None:
        return None
    length = _length(text)
    return _moment(text, option) if length is None else time.time() + length


def _length(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    return float(found[1]) * _UNITS[found[2]] if found else None


def _moment(text: str, option: str) -> float:
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is not a time such as 7d or 2026-03-31", param_hint=option) from None
