"""What user code raised, as the caller may know it."""

from __future__ import annotations

from typing import Any

from ..contract import CallError
from .results import ResultError

_PASSED = (400, 404, 408, 413, 422, 429, 503, 504)
"""Statuses of the SDK's server that mean the same to our caller. A 401 does not: it is the code's own key."""


def call_error(error: Exception, who: str) -> CallError:
    """The error of the call in which ``who`` raised ``error``. An SDK's HTTP status and its ``Retry-After`` are kept,
    so that a call that was turned away can be tried again or elsewhere."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, ResultError):  # says itself what returned it
        return CallError(f"{error}.", code="code_error")
    status = _status(error)
    if status is None and (isinstance(error, TimeoutError) or "timeout" in type(error).__name__.lower()):
        status = 504
    made = CallError(
        f"{who} raised {type(error).__name__}: {error}",
        status=status if status in _PASSED else 502,
        code=None if status in _PASSED else "code_error",
        retry_after=_retry_after(error),
    )
    made.__cause__ = error
    return made


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    for value in (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
        getattr(error, "status", None),
    ):
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return int(value)
    return None


def _retry_after(error: Exception) -> float | None:
    told: Any = getattr(error, "retry_after", None)
    if told is None:
        headers: Any = getattr(getattr(error, "response", None), "headers", None)
        told = headers.get("retry-after") if hasattr(headers, "get") else None
    try:
        seconds = float(told)
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 86400 else None
