"""Carries out one behaviour on one connection."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator
from typing import Any

from byom.testing.behavior import Behavior
from byom.testing.chat_wire import ChatWire, StreamEvent
from byom.testing.connection import Connection
from byom.testing.records import RecordedRequest
from byom.testing.responses_wire import ResponsesWire
from byom.testing.sse import EventWriter

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class AnswerWriter:
    """Sends the head and the body of one answer, in the form and with the faults of a behaviour."""

    def __init__(self, behavior: Behavior, request: RecordedRequest, connection: Connection) -> None:
        self.behavior = behavior
        self._request = request
        self._connection = connection
        self._chunked = False
        self._zip = zlib.compressobj(wbits=31) if behavior.gzip else None

    # --- whole bodies

    async def send_body(self, body: bytes, content_type: str = "application/json", status: int | None = None) -> None:
        """One body of known length; half of it and a cut connection where the behaviour says so."""
        behavior = self.behavior
        body = _malformed(behavior, body)
        if behavior.gzip:
            body = self._compress(body) + self._compress_end()
        head = [("content-type", content_type), ("content-length", str(len(body)))]
        await self._head(status or behavior.status, head)
        if self._request.method == "HEAD":
            return
        await asyncio.sleep(behavior.first_byte_delay + behavior.silent)
        if behavior.cut_after_chunks is not None:
            half = len(body) // 2 if behavior.cut_after_chunks else 0
            await self._connection.write(body[:half], behavior.dribble)
            await self._cut("close" if behavior.cut == "end" else behavior.cut)
            return
        await self._connection.write(body, behavior.dribble)
        self._request.chunks_sent = 1
        self._request.completed = True

    # --- streams

    async def send_stream(self, wire: ChatWire | ResponsesWire) -> None:
        """Events, at their times, up to the fault that the behaviour has."""
        self._chunked = self._request.http_version != "1.0"
        self._request.keep_alive = self._request.keep_alive and self._chunked
        head = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
        if self._chunked:
            head.append(("transfer-encoding", "chunked"))
        await self._head(self.behavior.status, head)
        await asyncio.sleep(self.behavior.first_byte_delay)
        writer = EventWriter(self.behavior)
        if await self._send_events(writer, wire.events()):
            if not self.behavior.omit_done and isinstance(wire, ChatWire):
                await self._piece(writer.done())
            await self._end()

    async def _send_events(self, writer: EventWriter, events: Iterator[StreamEvent]) -> bool:
        """Whether the stream is to be ended as usual."""
        behavior, request = self.behavior, self._request
        started: float | None = None
        paused = False
        loop = asyncio.get_running_loop()
        for event in events:
            if await self._fault(writer):
                return False
            if behavior.silent and not paused and request.chunks_sent >= behavior.silent_after_chunks:
                paused = True
                await asyncio.sleep(behavior.silent)
            if event.counted and behavior.chunk_interval:
                # Against the clock, so that a late chunk does not make all that follow late.
                started = loop.time() if started is None else started
                await asyncio.sleep(started + request.chunks_sent * behavior.chunk_interval - loop.time())
            await self._piece(writer.event(event.payload, event.name))
            request.chunks_sent += event.counted
        return not await self._fault(writer)

    async def _fault(self, writer: EventWriter) -> bool:
        """Does what the behaviour has for this point of the stream; whether that ended the stream."""
        behavior, sent = self.behavior, self._request.chunks_sent
        if behavior.hang_after_chunks is not None and sent >= behavior.hang_after_chunks:
            await asyncio.Event().wait()
        if behavior.error_after_chunks is not None and sent >= behavior.error_after_chunks:
            await self._piece(writer.event({"error": dict(behavior.stream_error)}))
            await self._end()
            return True
        if behavior.cut_after_chunks is not None and sent >= behavior.cut_after_chunks:
            if behavior.cut == "end":
                await self._end()
            else:
                await self._cut(behavior.cut)
            return True
        return False

    async def _piece(self, data: bytes) -> None:
        if self._zip is not None:
            data = self._compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        step = self.behavior.dribble or max(1, len(data))
        for start in range(0, len(data), step):
            # A chunk of HTTP each, because a reader may find several packets in its buffer at once.
            part = data[start : start + step]
            await self._connection.write(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)
            if self.behavior.dribble:
                await asyncio.sleep(0)

    async def _end(self) -> None:
        if self._zip is not None and (rest := self._compress_end()):
            await self._connection.write(b"%x\r\n%b\r\n" % (len(rest), rest) if self._chunked else rest)
        if self._chunked:
            await self._connection.write(b"0\r\n\r\n")
        self._request.completed = True

    # --- both

    async def _head(self, status: int, headers: list[tuple[str, str]]) -> None:
        behavior = self.behavior
        self._request.status = status
        if behavior.gzip:
            headers.append(("content-encoding", "gzip"))
        if behavior.retry_after is not None:
            headers.append(("retry-after", str(behavior.retry_after)))
        if behavior.retry_after_ms is not None:
            headers.append(("retry-after-ms", str(behavior.retry_after_ms)))
        if behavior.set_cookie is not None:
            headers.append(("set-cookie", behavior.set_cookie))
        headers.append(("x-request-id", f"fake-{self._request.number}"))
        headers += behavior.headers.items()
        if not self._request.keep_alive:
            headers.append(("connection", "close"))
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        await self._connection.write("\r\n".join([*lines, "", ""]).encode("latin-1"), behavior.dribble)

    async def _cut(self, how: str) -> None:
        await self._connection.flush()
        if how == "reset":
            self._connection.reset()
        else:
            self._connection.close()

    def _compress(self, data: bytes) -> bytes:
        return self._zip.compress(data) if self._zip is not None else data

    def _compress_end(self) -> bytes:
        return self._zip.flush() if self._zip is not None else b""


def _malformed(behavior: Behavior, body: bytes) -> bytes:
    match behavior.malformed:
        case "not_json":
            return b"This is not JSON."
        case "wrong_shape":
            return b'{"choices": "none", "data": 7, "object": ["unexpected"]}'
        case "truncated_json":
            return body[: len(body) // 2]
        case "html":
            return b"<!doctype html><html><body><h1>It works!</h1></body></html>"
        case "empty":
            return b""
        case _:
            return body


def error_body(message: str, kind: str, code: str | None, param: str | None = None, **more: Any) -> bytes:
    """An error in OpenAI's form."""
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code, **more}}).encode()
