"""One connection to an upstream: sends a request, and hands over its answer piece by piece.

A piece is what one read from the socket brought, however many chunks of the transfer coding it held.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import TYPE_CHECKING, Protocol

import httptools

from byom.errors import UpstreamProtocol, UpstreamUnreachable
from byom.gateway.http.sender import Sender

if TYPE_CHECKING:
    from byom.gateway.http.pool import Pool

log = logging.getLogger("byom.gateway")


class _Surplus(Exception):
    """Something stands behind the answer that was asked for."""


class Receiver(Protocol):
    """What an answer is delivered to. Nothing is delivered after `on_end` or `on_failure`."""

    def on_whole(self, status: int, headers: dict[bytes, bytes], data: bytes) -> None:
        """A whole answer that came in one read, in place of the three calls below."""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_failure(self, error: Exception, *, untouched: bool) -> None:
        """``untouched``: a reused connection was closed before one byte of an answer came, as happens when
        an upstream closes an idle connection in the same moment; trying again is safe."""


class Outbound(asyncio.Protocol):
    __slots__ = (
        "_close_delimited",
        "_decoder",
        "_first",
        "_headers",
        "_keep_alive",
        "_parser",
        "_parts",
        "_sender",
        "_status",
        "idle_since",
        "lost",
        "on_body",
        "pool",
        "receiver",
        "requests",
        "touched",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self._sender: Sender | None = None
        self.receiver: Receiver | None = None
        self.requests = 0
        self.idle_since = 0.0
        self.lost = False
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        # llhttp calls list.append itself: no Python frame for each chunk of the transfer coding.
        self.on_body = self._parts.append
        self.touched = False
        self._keep_alive = False
        self._close_delimited = False
        self._first = b""
        self._decoder: zlib._Decompress | None = None
        self._parser = httptools.HttpResponseParser(self)

    # -- sending

    def send(self, receiver: Receiver, head: bytes, body: bytes) -> None:
        sender = self._sender
        assert sender is not None
        self.receiver = receiver
        self.requests += 1
        self.touched = False
        if len(body) < 65536:
            sender.write(head + body)
        else:
            sender.write(head)
            sender.write(body)

    def pause(self) -> None:
        if self.transport is not None and not self.lost:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.lost:
            self.transport.resume_reading()

    def abandon(self) -> None:
        """Stop here: the answer is not wanted any more. The upstream sees its connection closed."""
        self.receiver = None
        if self.transport is not None:
            self.transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._sender = Sender(self.transport, self.pool.batch)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.pool.forget(self)
        receiver = self.receiver
        if receiver is None:
            return
        self.receiver = None
        if self._close_delimited and exc is None:
            receiver.on_end()
        elif self._status:
            receiver.on_failure(
                UpstreamProtocol("The model's server broke the connection in the middle of its answer."),
                untouched=False,
            )
        else:
            receiver.on_failure(
                UpstreamUnreachable("The model's server closed the connection without an answer."),
                untouched=self.requests > 1 and not self.touched,
            )

    def data_received(self, data: bytes) -> None:
        if self.receiver is None:
            # Bytes that nobody asked for: the connection's state is unknown, so it is not used again.
            if self.transport is not None:
                self.transport.abort()
            return
        if not self.touched:
            self.touched = True
            end = data.find(b"\r\n\r\n")
            # A server sends the same head again and again within a second: one that llhttp has accepted is not read
            # again. Only heads that state the length of the body are kept, so this read is known to be the whole.
            kept = self.pool.heads.get(data[:end]) if end > 0 else None
            if kept is not None and len(data) == end + 4 + kept[2]:
                receiver, self.receiver = self.receiver, None
                self.pool.put(self)
                try:
                    receiver.on_whole(kept[0], kept[1], data[end + 4 :])
                except Exception as error:  # noqa: BLE001 - logged, and the call is ended
                    self._fault(receiver, error)
                return
            self._first = data[: end + 4] if end > 0 else b""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._can_end(error):
                return
        receiver = self.receiver
        try:
            if self._parts:
                self._deliver()
            if self._status < 0 and self.receiver is not None:
                self._complete()
        except Exception as error:  # noqa: BLE001 - logged, and the call is ended
            self._fault(receiver, error)

    def _can_end(self, error: Exception) -> bool:
        """Whether the answer was whole before llhttp found something wrong; if not, it has failed now."""
        if self._status < 0:
            # Its end is clear, and what came after it is nobody's: the connection is not used again.
            self._keep_alive = False
            return True
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a fault of the hub while reading an answer", exc_info=error)
            self._fail(error)
        else:
            self._fail(UpstreamProtocol(f"The model's server does not answer in valid HTTP/1.1: {error}"))
        return False

    def _fault(self, receiver: Receiver | None, error: Exception) -> None:
        """The hub itself failed over an answer, for instance with a full disk: the call ends, however far it was."""
        log.error("a fault of the hub with an answer", exc_info=error)
        self.receiver = None
        if self.transport is not None:
            self.transport.abort()
        if receiver is not None:
            receiver.on_failure(error, untouched=False)

    def _deliver(self) -> None:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if self._decoder is not None:
            try:
                data = self._decoder.decompress(data)
            except zlib.error as error:
                self._fail(UpstreamProtocol(f"The model's server sent a broken content encoding: {error}"))
                return
        if data and self.receiver is not None:
            self.receiver.on_data(data)

    def _fail(self, error: Exception) -> None:
        receiver, self.receiver = self.receiver, None
        if self.transport is not None:
            self.transport.abort()
        if receiver is not None:
            receiver.on_failure(error, untouched=False)

    def _complete(self) -> None:
        receiver, self.receiver = self.receiver, None
        keep = self._keep_alive
        self._status = 0
        self._headers = {}
        self._decoder = None
        if keep:
            self.pool.put(self)
        elif self.transport is not None:
            self.transport.close()
        if receiver is not None:
            receiver.on_end()

    # -- llhttp callbacks

    def on_message_begin(self) -> None:
        if self._status < 0:
            raise _Surplus

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = {}
            self._first = b""
            return
        self._status = status
        self._keep_alive = self._parser.should_keep_alive()
        headers = self._headers
        self._close_delimited = b"content-length" not in headers and b"transfer-encoding" not in headers
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() in (b"gzip", b"x-gzip", b"deflate"):
            # Asked for identity, sent something else all the same: decoded here, once.
            self._decoder = zlib.decompressobj(wbits=47)
            headers.pop(b"content-length", None)
        elif self._keep_alive and self._first:
            self.pool.keep(self._first, status, headers)
        if self.receiver is not None:
            self.receiver.on_head(status, headers)

    def on_message_complete(self) -> None:
        # A message that ended: said here, acted on in data_received, after its body was delivered.
        if self._status > 0:
            self._status = -self._status
            # Those of this message are with its receiver: what comes after it must not change them.
            self._headers = {}
