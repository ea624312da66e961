"""All connections of callers: accepts them, hands non-gateway ones to an ASGI server, closes old ones."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING

from byom.gateway.http.inbound import LENGTH, Inbound

if TYPE_CHECKING:
    import socket

    from byom.gateway.gateway import Gateway
    from byom.gateway.http.head import RequestHead
    from byom.gateway.request import CallHead

IDLE_SECONDS = 120.0
"""More than clients keep idle connections, so that they close them and not we."""
MAX_KEPT_HEADS = 4096
MAX_KEPT_HEAD = 4096
MAX_KEPT_BODY = 64 * 1024
"""Bytes. A larger body is worth a check of its head before it is read."""
READ_SECONDS = 60.0
"""The most that a request may take from its first byte to its last (slow senders hold a connection else)."""


class Listener:
    """``fallback`` makes the protocol that serves everything but ``/v1``. ``check_origin`` is given the ``Host`` and
    ``Origin`` headers of each new kind of request, and raises for those that are not welcome."""

    def __init__(
        self,
        gateway: Gateway,
        fallback: Callable[[], asyncio.Protocol],
        *,
        loop: asyncio.AbstractEventLoop,
        check_origin: Callable[[str, str], None],
    ) -> None:
        self.gateway = gateway
        self.loop = loop
        self.check_origin = check_origin
        self.connections: set[Inbound] = set()
        self.heads: dict[bytes, CallHead] = {}
        """Heads that were read before, by their bytes without the length of the body."""
        self.closing = False
        self.date = b""
        self._fallback = fallback
        self._snapshot = gateway.snapshot
        self._server: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def now() -> float:
        return time.monotonic()

    async def listen(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._tick()
        self._listening, self._tls = listening.dup(), tls
        self._server = await self.loop.create_server(lambda: Inbound(self), sock=listening, ssl=tls, backlog=4096)

    def hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        protocol = self._fallback()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def keep(self, data: bytes, head: RequestHead) -> None:
        """Keep a head that llhttp accepted. Only one with a length: without it there is no body to tell apart."""
        length = LENGTH.search(data)
        if length is None or head.chunked or head.content_length > MAX_KEPT_BODY or len(data) > MAX_KEPT_HEAD:
            return
        if b"expect" in head.headers or data.lower().count(b"content-length") != 1:
            return
        if len(self.heads) >= MAX_KEPT_HEADS:
            self.heads.clear()
        self.heads[data[: length.start(1)] + data[length.end(1) : -4]] = head.call_head()

    def _tick(self) -> None:
        self.date = b"server: byom\r\ndate: " + formatdate(usegmt=True).encode("ascii") + b"\r\n"
        if self._snapshot is not self.gateway.snapshot:
            # Kept heads hold on to the catalog that they were last used with.
            self._snapshot = self.gateway.snapshot
            self.heads.clear()
        now = self.now()
        for connection in list(self.connections):
            connection.expire(now, IDLE_SECONDS, READ_SECONDS)
        self._timer = self.loop.call_later(1.0, self._tick)

    async def linger(self, seconds: float) -> None:
        """No new connections, but for ``seconds`` those that stand are served: a request that is on its way gets its
        answer, and with it the word that the connection ends."""
        self.closing = True
        if self._server is not None and self._listening is not None:
            self._server.close()
            # What the system has connected and nobody accepted yet would be reset with the socket.
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = self._listening.accept()
                    connection.setblocking(False)  # noqa: FBT003
                    await self.loop.connect_accepted_socket(lambda: Inbound(self), connection, ssl=self._tls)
        self._forget_socket()
        deadline = self.loop.time() + seconds
        while self.connections and self.loop.time() < deadline:  # noqa: ASYNC110 - an event would cost each call
            await asyncio.sleep(0.02)

    def stop_accepting(self) -> None:
        """No new connections; those that are idle close, the others after their answer."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        self._forget_socket()
        for connection in list(self.connections):
            connection.close_idle()

    def _forget_socket(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._forget_socket()
        for connection in list(self.connections):
            connection.close()
