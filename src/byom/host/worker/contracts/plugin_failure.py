"""What a caller is told when plugin code raises. Its trace goes to the log; secrets go to neither."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from ..contract import CallError, Context

STATUSES = {400: 400, 404: 502, 408: 504, 413: 400, 422: 400, 429: 429, 503: 503, 504: 504, 529: 503}
"""Of the model's server, as SDKs put them into their exceptions, and what the caller gets for them. Others: 502."""
LONGEST = 1000
MASK = "•••"


def failure(error: Exception, doing: str, secrets: Iterable[str], preset: str = "") -> CallError:
    """``doing`` names what was called, such as ``MyLLM.process``; ``preset`` is where the caller's own credential comes
    from, empty where there is none. Writes the trace to standard error."""
    hidden = sorted({secret for secret in secrets if len(secret) > 3}, key=len, reverse=True)
    print(_without(traceback.format_exc(), hidden), file=sys.stderr, flush=True)
    if isinstance(error, CallError):
        return error
    text = _without(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, hidden)
    text = f"{doing} raised {text[:LONGEST]}"
    status = _status(error)
    if status in (401, 403) and preset:
        # The caller's own matter, not a failure of the model's server: others go on calling.
        mend = f"Your own credential of {preset!r} was not accepted. Enter a valid one: byom credentials set {preset}"
        return CallError(f"{text}\n{mend}", status=403, code="credential_rejected")
    return CallError(
        text,
        status=STATUSES.get(status or 0, 504 if isinstance(error, TimeoutError) else 502),
        code="upstream_auth" if status in (401, 403) else "plugin_failed",
        retry_after=_retry_after(error),
    )


def secrets_of(context: Context, places: Iterable[str]) -> list[str]:
    """Texts that must not be shown: the values at ``places`` (``param`` or ``param.field``) of the configuration."""
    found: list[str] = []
    for place in places:
        value: Any = context.config
        for name in place.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        found += _texts(value)
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        # Of a pair of user and password, the password: the name of a user may stand in a message.
        return [text for name, inner in value.items() if name != "user" for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def _without(text: str, hidden: Iterable[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, MASK)
    return text


def _status(error: Exception) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return None


def _retry_after(error: Exception) -> float | None:
    response = getattr(error, "response", error)
    headers = getattr(response, "headers", None)
    try:
        return max(0.0, float(headers.get("retry-after")))  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        return None
