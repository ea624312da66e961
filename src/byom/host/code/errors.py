"""What callers are told when the code of a model gives no answer."""

from __future__ import annotations

from typing import Any

from byom.errors import (
    BadRequest,
    ByomError,
    LimitExceeded,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    UnprocessableRequest,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamTimeout,
)


class HostBusy(Unavailable):
    """All workers have work, and the queue is full. ``retry_after`` is set."""

    code = "host_busy"


class ModelFailed(Unavailable):
    """The code could not be loaded or made ready; it is tried again by itself."""

    code = "model_failed"


class CodeError(UpstreamError):
    """The code raised an error; the message is its type and its text. The trace is in the log."""

    code = "code_error"


class CodeEnded(UpstreamError):
    """The process that ran the code ended in the middle of the call."""

    code = "code_ended"


class CodeTimeout(UpstreamTimeout):
    """The code took longer than it may."""

    code = "code_timeout"


class CredentialMissing(PermissionDenied):
    """The model needs a credential of the caller's own, which the caller has not entered."""

    code = "credential_missing"


_BY_STATUS: dict[int, type[ByomError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    413: PayloadTooLarge,
    422: UnprocessableRequest,
    429: LimitExceeded,
    503: UpstreamOverloaded,
    504: UpstreamTimeout,
}


def of_frame(frame: dict[str, Any], message: str) -> ByomError:
    """The error that a worker's ``error`` message stands for. Anything but a `CallError` is a fault of the code."""
    if frame.get("kind") != "CallError":
        return CodeError(message)
    kind = _BY_STATUS.get(int(frame.get("status") or 502), CodeError)
    return kind(message, code=frame.get("code"), retry_after=frame.get("retry_after"))
