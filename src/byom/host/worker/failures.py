"""What the host is told of code that failed: a short sentence for the caller, the trace for the log."""

from __future__ import annotations

import asyncio
import os
import traceback
from typing import Any, Dict  # noqa: UP035 - evaluated on Python 3.9

from .calls import Cancelled
from .contract import CallError, LoadError

_LONGEST_MESSAGE = 1000
_LONGEST_TRACE = 32 * 1024
_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


def sentence(error: BaseException) -> str:
    """``Type: message``, short, whatever the error's own methods do."""
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001 - the user's own class
        text = f"(its message cannot be shown: {type(second).__name__})"
    text = text.strip()
    if len(text) > _LONGEST_MESSAGE:
        text = text[:_LONGEST_MESSAGE] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def trace(error: BaseException) -> str:
    """The trace from where user code begins; its end, where it is very long."""
    while error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        if not error.__traceback__.tb_frame.f_code.co_filename.startswith(_HERE):
            break
        error.__traceback__ = error.__traceback__.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001 - the user's own class
        text = sentence(error)
    return text if len(text) <= _LONGEST_TRACE else "…" + text[-_LONGEST_TRACE:]


def of_call(error: BaseException) -> Dict[str, Any]:  # noqa: UP006
    """The fields of an ``error`` message."""
    if isinstance(error, CallError):
        fields = {
            "message": error.message,
            "status": error.status,
            "code": error.code,
            "retry_after": error.retry_after,
            "kind": "CallError",
        }
        if error.__cause__ is not None:
            fields["trace"] = trace(error)
        return fields
    if isinstance(error, (Cancelled, asyncio.CancelledError)):
        return {"message": "cancelled", "kind": "Cancelled"}
    if isinstance(error, LoadError):
        return {"message": str(error), "kind": "LoadError", "trace": trace(error)}
    return {"message": sentence(error), "kind": type(error).__name__, "trace": trace(error)}


def of_load(error: BaseException) -> Dict[str, Any]:  # noqa: UP006
    """The fields of a ``failed`` message."""
    if isinstance(error, LoadError):
        return {"message": str(error), "trace": trace(error) if error.__cause__ is not None else ""}
    if isinstance(error, SystemExit):
        return {"message": f"The code ended itself while it was loaded: {sentence(error)}.", "trace": trace(error)}
    return {"message": f"The code cannot be loaded: {sentence(error)}", "trace": trace(error)}
