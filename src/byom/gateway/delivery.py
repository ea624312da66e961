"""The way of an answer to its caller: begun or not, how far, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from byom.gateway import answers

if TYPE_CHECKING:
    from byom.errors import ByomError
    from byom.gateway.request import Downstream

Keep = Callable[[int, bytes, bytes], None]
"""Takes a whole good answer to keep it: status, header lines, body."""
MAX_COLLECTED = 4 * 1024 * 1024


class Delivery:
    """``stalled_since``: when the caller stopped reading, 0 while it reads."""

    __slots__ = ("_collected", "_headers", "_size", "begun", "down", "keep", "last_write", "stalled_since")

    def __init__(self, down: Downstream, now: float, keep: Keep | None = None) -> None:
        self.down = down
        self.begun = False
        """The status line has gone out."""
        self.keep = keep
        self.last_write = now
        self.stalled_since = 0.0
        self._collected: list[bytes] | None = None
        self._size = 0
        self._headers = b""

    def begin(self, kind: bytes, own: bytes, length: int | None) -> None:
        """Begin a good answer; does nothing when a comment line has begun it already."""
        if self.keep is not None:
            self._collected = []
            self._headers = kind
        if not self.begun:
            self.begun = True
            self.down.start(200, kind + own, length)

    def write(self, data: bytes, now: float) -> bool:
        """False when the caller does not keep up: whatever brings the data should pause."""
        self.last_write = now
        self.down.write(data)
        if self._collected is not None:
            self._size += len(data)
            self._collected.append(data)
            if self._size > MAX_COLLECTED:
                self._collected = None
        if self.down.writable:
            return True
        if not self.stalled_since:
            self.stalled_since = now
        return False

    def finish(self) -> None:
        if self._collected is not None and self.keep is not None:
            self.keep(200, self._headers, b"".join(self._collected))
        self.down.finish()

    def whole(self, body: bytes, own: bytes) -> None:
        """A good JSON answer in one piece."""
        if self.keep is not None:
            self.keep(200, answers.JSON, body)
        self.begun = True
        self.down.respond(200, answers.JSON + own, body)

    def error(self, error: ByomError, request_id: str) -> None:
        """The error as the answer, or as an event when an event stream has begun."""
        if self.begun:
            self.break_off(answers.error_event(error))
            return
        self.begun = True
        self.down.respond(error.status, answers.error_headers(error, request_id), answers.error_body(error))

    def break_off(self, event: bytes) -> None:
        """End an event stream that is not whole: an event that says why, no ``[DONE]``, and the connection closed."""
        if event:
            self.down.write(event)
        self.down.finish(close=True)

    def comment(self, own: bytes, now: float) -> None:
        """A comment line, which event stream readers skip. Begins the answer if need be."""
        self.last_write = now
        if not self.begun:
            self.begun = True
            self.down.start(200, answers.EVENT_STREAM + own, None)
        self.down.write(b": keepalive\n\n")
