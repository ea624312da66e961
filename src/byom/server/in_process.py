"""Requests to an ASGI application in this process, streamed both ways.

The transport that comes with the HTTP client waits for the whole answer and cannot be hung up on; this one passes each
piece on when it is there, and closing the response tells the application that the caller has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx2

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
_WAITING_PIECES = 64
"""Pieces of an answer that may wait for a slow reader; then the application waits."""


class StreamingASGITransport(httpx2.AsyncBaseTransport):
    """Sends requests to ``app``. Use it on the loop that the application runs on."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(await request.aread())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        exchange.task = asyncio.create_task(exchange.run(self._app, scope), name="call of an application in process")
        try:
            start = await exchange.head()
        except BaseException:
            await exchange.close()
            raise
        stream = _AnswerStream(exchange)
        return httpx2.Response(start["status"], headers=list(start.get("headers", ())), stream=stream)


class _Exchange:
    """One request and its answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(_WAITING_PIECES)
        self.task: asyncio.Task[None] | None = None

    async def run(self, app: App, scope: Message) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            if not self._gone.is_set():
                await self._messages.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            raise ConnectionResetError("the caller has gone")
        await self._messages.put(message)

    async def head(self) -> Message:
        message = await self._messages.get()
        if message is None:
            await self._raise_failure()
            raise httpx2.RemoteProtocolError("the application did not answer")
        return message

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._messages.get()
            if message is None:
                await self._raise_failure()
                raise httpx2.RemoteProtocolError("the application broke its answer off")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def _raise_failure(self) -> None:
        if self.task is None:
            return
        try:
            await self.task
        except OSError as error:
            raise httpx2.ReadError(str(error)) from error

    async def close(self) -> None:
        """Hang up, and wait until the application has taken note."""
        self._gone.set()
        while not self._messages.empty():
            self._messages.get_nowait()  # lets an application that waits for room go on, and see that nobody reads
        if self.task is not None:
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await asyncio.wait({self.task}, timeout=1.0)
                if not self.task.done():
                    self.task.cancel()
                await self.task


class _AnswerStream(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._exchange.body():
            yield piece

    async def aclose(self) -> None:
        await self._exchange.close()
