"""One accepted connection: reads requests, writes answers, notices when the caller goes away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from typing import Protocol, cast

import httptools

from byom.testing.records import RecordedRequest

_NO_LINGER = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """What a connection tells the server that accepted it."""

    def connection_opened(self, connection: Connection) -> None: ...
    def connection_closed(self, connection: Connection) -> None: ...
    def next_request_number(self) -> int: ...
    def request_arrived(self, request: RecordedRequest) -> None: ...
    def request_ended(self, request: RecordedRequest, *, caller_left: bool) -> None: ...
    async def answer(self, request: RecordedRequest, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; pipelined requests are answered one after the other."""

    def __init__(self, owner: Owner, connection_id: int) -> None:
        self.id = connection_id
        self.reset_on_next_request = False
        self._owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[RecordedRequest] = deque()
        self._current: RecordedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended_by_us = False
        self._lost = False
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._owner.connection_opened(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lost = True
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        if self._current is not None:
            self._finish(self._current, caller_left=not self._ended_by_us)
        self._owner.connection_closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self.reset_on_next_request:
            self.reset()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.close()

    # --- httptools callbacks

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = RecordedRequest(
            number=self._owner.next_request_number(),
            connection_id=self.id,
            method=self._parser.get_method().decode("ascii"),
            target=self._target.decode("latin-1"),
            headers=self._headers,
            body=b"".join(self._body),
            received_at=time.monotonic(),
            http_version=self._parser.get_http_version(),
            keep_alive=self._parser.should_keep_alive(),
        )
        self._waiting.append(request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        while self._waiting and not self._lost:
            request = self._current = self._waiting.popleft()
            self._owner.request_arrived(request)
            try:
                await self._owner.answer(request, self)
            except ConnectionResetError:
                break  # the caller has gone, and connection_lost has recorded it
            except Exception as error:  # noqa: BLE001 - a handler of the test is wrong: show it, end the call
                context = {"message": "A fake upstream could not answer.", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                self.reset()
            if self._current is request and not self._lost:
                self._finish(request, caller_left=False)
            if not request.keep_alive:
                self.close()
        self._task = None

    def _finish(self, request: RecordedRequest, *, caller_left: bool) -> None:
        self._current = None
        self._owner.request_ended(request, caller_left=caller_left)

    # --- for answers

    async def write(self, data: bytes, dribble: int | None = None) -> None:
        """Sends bytes; with ``dribble``, so many in a packet. Waits while the caller does not read."""
        step = dribble or max(1, len(data))
        for start in range(0, len(data), step):
            await self._writable.wait()
            if self._lost:
                raise ConnectionResetError("the caller has gone")
            self._transport.write(data[start : start + step])
            if dribble:
                await asyncio.sleep(0)

    async def flush(self) -> None:
        """Waits until the kernel has taken everything, so that an abrupt end does not swallow what came before."""
        self._transport.set_write_buffer_limits(0)
        await self._writable.wait()
        self._transport.set_write_buffer_limits()

    def close(self) -> None:
        """Ends the connection with FIN, after what is still to be sent."""
        self._ended_by_us = True
        self._transport.close()

    def reset(self) -> None:
        """Ends the connection with RST."""
        self._ended_by_us = True
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):  # the caller was quicker
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    @property
    def idle(self) -> bool:
        return self._current is None
