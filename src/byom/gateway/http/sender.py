"""The way out of a connection: what one pass of the event loop has to send goes out together, at the pass's end.

A busy gateway finds dozens of sockets ready at once. Written one by one while they are read, each write wakes its
reader on another core and lets it fall asleep again before the next; written in a row, the readers stay awake and the
pieces for one connection (a head, an event, the end) leave in one system call. ``bench/`` has what that is worth.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_DIRECT = sys.platform != "win32" and hasattr(os, "writev")
MAX_PARTS = 512
"""Pieces in one system call; systems take 1,024 at least."""


class Batch:
    """The connections of one event loop that have something to send."""

    __slots__ = ("_due", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[Sender] = []

    def add(self, sender: Sender) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due.append(sender)

    def _flush(self) -> None:
        due, self._due = self._due, []
        for sender in due:
            sender.flush()


class Sender:
    """Sends over one transport, in order. A TLS transport does its own batching."""

    __slots__ = ("_batch", "_fd", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, batch: Batch) -> None:
        self._transport = transport
        self._batch = batch
        self._parts: list[bytes] = []
        self._fd = -1
        if _DIRECT and transport.get_extra_info("sslcontext") is None:
            self._fd = transport.get_extra_info("socket").fileno()

    def write(self, data: bytes) -> None:
        """Send it with the present pass of the loop."""
        if self._fd < 0:
            self._transport.write(data)
            return
        parts = self._parts
        if not parts:
            self._batch.add(self)
        parts.append(data)

    def flush(self) -> None:
        """Send what there is now; what the socket does not take is left to the transport."""
        parts = self._parts
        if not parts:
            return
        self._parts = []
        transport = self._transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size():
            transport.write(b"".join(parts))
            return
        try:
            written = os.write(self._fd, parts[0]) if len(parts) == 1 else os.writev(self._fd, parts[:MAX_PARTS])
        except OSError:
            written = 0  # full, or broken: the transport finds out which
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if written < len(data):
            transport.write(data[written:] if written else data)

    def close(self) -> None:
        """Close the connection when everything is sent."""
        self.flush()
        self._transport.close()
