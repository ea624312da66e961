"""The server's side of one connection from a caller.

Requests below ``/v1`` are handled here, without a task. Anything else (management API, web UI) is handed over, with the
whole connection, to the protocol of an ASGI server, whose application serves ``/v1`` too through `byom.gateway.asgi`.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from byom.errors import BadRequest, ByomError, PayloadTooLarge
from byom.gateway.http.head import MAX_HEAD, RequestHead
from byom.gateway.http.sender import Sender
from byom.gateway.paths import is_management

if TYPE_CHECKING:
    from byom.gateway.http.listener import Listener
    from byom.gateway.request import Caller, CallHead

_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}
MAX_PIPELINED = 256 * 1024
"""Bytes of further requests that are held while one is answered."""
MAX_DRAINED = 1024 * 1024
"""Bytes of a refused body that are read and thrown away, so that the caller reads the refusal."""
HIGH_WATER = 64 * 1024
SLOWEST = 16 * 1024
"""Bytes of a body that buy its sender one more second."""
LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,9})\r\n")


class Inbound(asyncio.Protocol):
    """One request at a time; what a caller sends ahead waits its turn."""

    __slots__ = (
        "_body",
        "_buffer",
        "_busy",
        "_call",
        "_chunked_answer",
        "_close_after",
        "_drain",
        "_head",
        "_keep_alive",
        "_listener",
        "_missing",
        "_old",
        "_paused",
        "_sender",
        "idle_since",
        "transport",
        "writable",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.transport: asyncio.Transport | None = None
        self._sender: Sender | None = None
        """What writes to the transport; ``None`` when that is gone."""
        self.writable = True
        self.idle_since = listener.now()
        """When the connection began to wait for a request."""
        self._buffer = b""
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._missing = 0
        self._busy = False
        self._call: Caller | None = None
        self._keep_alive = True
        self._old = False
        self._chunked_answer = False
        self._close_after = False
        self._drain = 0
        self._paused = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=HIGH_WATER)  # type: ignore[union-attr]
        self._sender = Sender(self.transport, self._listener.gateway.batch)  # type: ignore[arg-type]
        self._listener.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        self._listener.connections.discard(self)
        self.transport = self._sender = None
        call, self._call = self._call, None
        if call is not None:
            call.on_disconnect()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self._call is not None:
            self._call.on_drain()

    def data_received(self, data: bytes) -> None:
        if self._drain:
            self._throw_away(data)
        elif self._busy:
            self._buffer += data
            if len(self._buffer) > MAX_PIPELINED and not self._paused and self.transport is not None:
                self._paused = True
                self.transport.pause_reading()
        elif self._head is not None:
            self._read_body(self._head, data)
        else:
            self._read_head(self._buffer + data if self._buffer else data)

    # -- reading a request

    def _read_head(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        if end > 0:
            # Clients send the same head again and again, but for its length: one that was read before is not read
            # again. Its other bytes are compared whole, so nothing in it can differ from what llhttp has accepted.
            length = LENGTH.search(data, 0, end + 2)
            if length is not None:
                kept = self._listener.heads.get(data[: length.start(1)] + data[length.end(1) : end])
                size = end + 4 + int(length.group(1))
                if kept is not None and len(data) == size and size <= end + self._listener.gateway.fast_body:
                    self._buffer = b""
                    self._keep_alive = not self._listener.closing
                    self._call_gateway(kept, data[end + 4 :])
                    return
        if data[:1] in b"\r\n":
            data = data.lstrip(b"\r\n")
            end = data.find(b"\r\n\r\n")
        ours = is_gateway(data)
        if ours is False:
            self._hand_over(data)
            return
        if end < 0 or ours is None:
            if not self._buffer:
                self.idle_since = self._listener.now()
            self._buffer = data
            if len(data) > MAX_HEAD:
                self._refuse(BadRequest("The request's headers are larger than 64 KiB.", code="headers_too_large"))
            return
        self._buffer = b""
        end += 4
        head = RequestHead()
        try:
            head.feed(data[:end])
            self._check(head)
        except ByomError as error:
            self._refuse(error, head)
            return
        # HTTP/1.0 knows neither chunks nor connections that stay open by themselves.
        self._old = head.version == "1.0"
        self._keep_alive = head.keep_alive and not self._old and not self._listener.closing
        if self._keep_alive and head.repeats:
            self._listener.keep(data[:end], head)
        self._begin_body(head, data[end:] if len(data) > end else b"")

    def _check(self, head: RequestHead) -> None:
        """Refuse before the body is read what its head already shows to be wrong."""
        listener = self._listener
        head.check()
        listener.check_origin(head.text(b"host"), head.text(b"origin"))
        if head.content_length > listener.gateway.settings.max_body_bytes:
            raise _too_large(listener.gateway.settings.max_body_bytes)
        if head.content_length > HIGH_WATER or head.chunked:
            listener.gateway.authenticate(head.token)

    def _begin_body(self, head: RequestHead, data: bytes) -> None:
        if head.headers.get(b"expect", b"").lower() == b"100-continue" and self._sender is not None:
            self._sender.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if head.chunked:
            self._keep_alive = False
            self._head = head
            self._missing = -1
            self.idle_since = self._listener.now()
            if data:
                self._read_body(head, data)
            return
        length = head.content_length
        if len(data) >= length:
            self._buffer = data[length:]
            self._dispatch(head, data[:length] if len(data) > length else data)
            return
        self._head = head
        self._body = [data]
        self._missing = length - len(data)
        self.idle_since = self._listener.now()

    def _read_body(self, head: RequestHead, data: bytes) -> None:
        self.idle_since += len(data) / SLOWEST
        if self._missing < 0:
            self._read_chunked(head, data)
            return
        self._missing -= len(data)
        if self._missing > 0:
            self._body.append(data)
            return
        rest = b""
        if self._missing < 0:
            data, rest = data[: self._missing], data[self._missing :]
        self._body.append(data)
        body = b"".join(self._body)
        self._head, self._body, self._missing = None, [], 0
        self._buffer = rest
        self._dispatch(head, body)

    def _read_chunked(self, head: RequestHead, data: bytes) -> None:
        limit = self._listener.gateway.settings.max_body_bytes
        try:
            head.feed(data)
            if sum(map(len, head.parts)) > limit:
                raise _too_large(limit)
        except ByomError as error:
            self._head = None
            self._refuse(error, head)
            return
        if head.complete:
            self._head, self._missing = None, 0
            self._dispatch(head, b"".join(head.parts))
        elif len(head.parts) > 64:
            head.parts = [b"".join(head.parts)]

    def _dispatch(self, head: RequestHead, body: bytes) -> None:
        self._call_gateway(head.call_head(), body)

    def _call_gateway(self, head: CallHead, body: bytes) -> None:
        self._busy = True
        call = self._listener.gateway.handle(head, body, self)
        # The answer may have gone out already, and the next request may have come with it.
        if call is not None and not call.finished:
            self._call = call

    def _refuse(self, error: ByomError, head: RequestHead | None = None) -> None:
        """Answer a request whose body was not read, and close: what follows cannot be told from that body."""
        self._keep_alive = False
        self._busy = True
        self._drain = MAX_DRAINED
        request_id = head.call_head().request_id if head is not None else ""
        self._listener.gateway.refuse(request_id, self, error)

    def _throw_away(self, data: bytes) -> None:
        self._drain -= len(data)
        if self._drain <= 0 and self.transport is not None:
            self.transport.abort()

    def _hand_over(self, data: bytes) -> None:
        transport = self.transport
        assert transport is not None
        assert self._sender is not None
        self._sender.flush()
        self._listener.connections.discard(self)
        self._buffer = b""
        self.transport = self._sender = None
        self._listener.hand_over(transport, data)

    # -- writing an answer (byom.gateway.request.Downstream)

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        sender = self._sender
        if sender is None:
            return
        closing = b"" if self._keep_alive else b"connection: close\r\n"
        sender.write(
            b"%b%b%b%bcontent-length: %d\r\n\r\n%b"
            % (_STATUS.get(status) or _status_line(status), self._listener.date, headers, closing, len(body), body)
        )
        self._done()

    def start(self, status: int, headers: bytes, length: int | None) -> None:
        sender = self._sender
        if sender is None:
            return
        self._chunked_answer = length is None and not self._old
        if length is None:
            framing = b"" if self._old else b"transfer-encoding: chunked\r\n"
        else:
            framing = b"content-length: %d\r\n" % length
        closing = b"" if self._keep_alive else b"connection: close\r\n"
        line = _STATUS.get(status) or _status_line(status)
        sender.write(b"".join((line, self._listener.date, headers, framing, closing, b"\r\n")))

    def write(self, data: bytes) -> None:
        sender = self._sender
        if sender is None or not data:
            return
        if self._chunked_answer:
            sender.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            sender.write(data)

    def finish(self, *, close: bool = False) -> None:
        sender = self._sender
        if sender is None:
            return
        if self._chunked_answer:
            sender.write(b"0\r\n\r\n")
        if close:
            self._keep_alive = False
        self._done()

    def abort(self) -> None:
        self._call = None
        if self.transport is not None:
            self.transport.abort()

    def _done(self) -> None:
        self._call = None
        self._busy = False
        self._chunked_answer = False
        transport = self.transport
        assert transport is not None
        if not self._keep_alive:
            assert self._sender is not None
            self._sender.flush()
            if self._drain:
                transport.write_eof() if transport.can_write_eof() else transport.close()
                self._busy = True
            else:
                transport.close()
            return
        self.idle_since = self._listener.now()
        if self._paused:
            self._paused = False
            transport.resume_reading()
        if self._buffer:
            data, self._buffer = self._buffer, b""
            # Not from here: this runs inside the call that has just ended.
            self._busy = True
            self._listener.loop.call_soon(self._next, data)

    def _next(self, data: bytes) -> None:
        self._busy = False
        if self.transport is not None:
            more, self._buffer = self._buffer, b""
            self._read_head(data + more)

    # -- the listener looks after old connections

    def expire(self, now: float, idle: float, reading: float) -> None:
        """Close a connection that waits for nothing: idle, or in the middle of a request that does not come."""
        if self.transport is None or (self._busy and not self._drain):
            return
        waited = now - self.idle_since
        if self._drain or self._buffer or self._head is not None:
            if waited > reading:
                self.transport.abort()
        elif waited > idle:
            self.close()

    def close_idle(self) -> None:
        """The hub stops: close now when idle, else after the answer."""
        self._keep_alive = False
        if not self._busy and self._head is None:
            self.close()

    def close(self) -> None:
        """Close when everything is sent."""
        if self._sender is not None:
            self._sender.close()


def is_gateway(data: bytes) -> bool | None:
    """Whether a request's first bytes are for a route of the gateway; ``None`` while they are too few to tell."""
    space = data.find(b" ", 0, 32)
    if space < 0:
        return None if len(data) < 32 else False
    target = data[space + 1 : space + 5]
    if len(target) < 4:
        return None if b"/v1/".startswith(target) else False
    # An answer to HEAD has a length and no body: left to the ASGI server.
    if target != b"/v1/" or data.startswith(b"HEAD "):
        return False
    if data.find(b" ", space + 5) < 0 and data.find(b"\n", space + 5) < 0:
        return None
    return not is_management(data)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The request's body is larger than {limit} bytes. The setting gateway.max_body_bytes raises the limit."
    )


def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d Unknown\r\n" % status
