"""The one error of the wire format."""

from __future__ import annotations

from byom.errors import BadRequest


class WireError(BadRequest):
    """Bytes that are not what the protocol says, or not what a model is given. Nothing in them was run."""

    code = "invalid_messages"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code, param="messages")
