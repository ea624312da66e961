"""The gateway as an ASGI application: for requests that reach it through an ASGI server, and for in-process clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from byom.errors import ByomError, PayloadTooLarge
from byom.gateway.http.head import RequestHead, call_head

if TYPE_CHECKING:
    from byom.gateway.gateway import Gateway
    from byom.gateway.request import Caller

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HIGH_WATER = 64 * 1024


class GatewayApp:
    """Serves ``/v1/…``. ``scope["path"]`` decides; the ``Host`` header decides nothing."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        headers = {name.lower(): value for name, value in scope["headers"]}
        reader = RequestHead()
        reader.headers = headers
        url = scope.get("raw_path") or scope["path"].encode()
        if scope.get("query_string"):
            url += b"?" + scope["query_string"]
        head = call_head(scope["method"], url, headers, reader.token)
        try:
            body = await self._read(receive, reader.token, headers)
        except ByomError as error:
            self._gateway.refuse(head.request_id, answer, error)
            await answer.pump(None)
            return
        if body is None:
            return
        call = self._gateway.handle(head, body, answer)
        watcher = asyncio.ensure_future(_watch(receive, call, answer)) if call is not None else None
        try:
            await answer.pump(call)
        except (OSError, asyncio.CancelledError):
            if call is not None:
                call.on_disconnect()
            raise
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _read(self, receive: Receive, token: str | None, headers: dict[bytes, bytes]) -> bytes | None:
        """The whole body; ``None`` when the caller went away meanwhile."""
        limit = self._gateway.settings.max_body_bytes
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if not parts and message.get("more_body"):
                self._gateway.authenticate(token)
            if size > limit or int(headers.get(b"content-length", b"0")) > limit:
                raise PayloadTooLarge(f"The request's body is larger than {limit} bytes.")
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


async def _watch(receive: Receive, call: Caller, answer: _Answer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.on_disconnect()
    answer.leave()


class _Answer:
    """`byom.gateway.request.Downstream` over ASGI messages: they queue up here, and `pump` sends them."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: list[MutableMapping[str, Any]] = []
        self._wake = asyncio.Event()
        self._held = 0
        self._ended = False
        self._broken = False
        self.writable = True

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        self.start(status, headers, len(body))
        self.write(body)
        self.finish()

    def start(self, status: int, headers: bytes, length: int | None) -> None:
        lines = [line.partition(b": ") for line in headers.split(b"\r\n") if line]
        pairs = [(name, value) for name, _, value in lines]
        if length is not None:
            pairs.append((b"content-length", b"%d" % length))
        self._put({"type": "http.response.start", "status": status, "headers": pairs})

    def write(self, data: bytes) -> None:
        if data:
            self._held += len(data)
            self.writable = self._held < HIGH_WATER
            self._put({"type": "http.response.body", "body": data, "more_body": True})

    def finish(self, *, close: bool = False) -> None:  # noqa: ARG002 - the ASGI server owns the connection
        self._ended = True
        self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        self._ended = self._broken = True
        self._wake.set()

    def leave(self) -> None:
        """The caller has gone: nothing more is sent."""
        self._queue.clear()
        self._ended = True
        self._wake.set()

    def _put(self, message: MutableMapping[str, Any]) -> None:
        self._queue.append(message)
        self._wake.set()

    async def pump(self, call: Caller | None) -> None:
        """Send what there is until the answer has ended."""
        while True:
            while self._queue:
                message = self._queue.pop(0)
                await self._send(message)
                self._held -= len(message.get("body", b""))
                if not self.writable and self._held < HIGH_WATER:
                    self.writable = True
                    if call is not None:
                        call.on_drain()
            if self._broken:
                # An ASGI server breaks the connection when the application fails before the answer's end.
                raise ConnectionAbortedError("the answer broke off")
            if self._ended:
                return
            self._wake.clear()
            await self._wake.wait()
