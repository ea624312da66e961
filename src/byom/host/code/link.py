"""The front's end of the socket to a worker: messages out, messages in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from byom.host.worker.frames import LENGTH, LONGEST

Frame = dict[str, Any]
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Link(asyncio.Protocol):
    """Calls ``on_frame`` for every message and ``on_lost`` once, when no more can come."""

    def __init__(self, on_frame: Callable[[Frame], None], on_lost: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            end = start + LENGTH.size + length
            if length > LONGEST:
                self.close()
                return
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[start + LENGTH.size : end])
            start = end
            try:
                frame = _decode(body)
            except msgspec.DecodeError:
                self.close()  # user code has written into our socket: nothing after it can be trusted
                return
            self._on_frame(frame)
        if start:
            del buffer[:start]

    def send(self, message: Frame) -> None:
        """Queues a message; without effect when the worker has gone, which `on_lost` tells."""
        if self._transport is not None and not self._transport.is_closing():
            body = _encode(message)
            self._transport.write(LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
