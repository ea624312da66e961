"""What tests of event streams need: a caller on a raw socket, an upstream whose every byte a test releases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from byom.types.target import Target
from tests.gateway.rig import MODEL, TOKEN, Rig

HELLO = [{"role": "user", "content": "Hello"}]
BOTH_SERVERS = ["own", "asgi"]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": HELLO} | fields


def chunk(text: str = "", **changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c-1", "object": "chat.completion.chunk", "choices": [choice]} | changes


def finish(reason: str = "stop") -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    """As one chunk of the transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def payloads(text: str) -> list[dict[str, Any]]:
    """The data of an answer's events, ``[DONE]`` left out."""
    found = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(data) for data in found if data != "[DONE]"]


def text_of(events: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for one in events for choice in one["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def stream(http: httpx2.AsyncClient, **fields: Any) -> str:
    """The whole text of a chat's event stream."""
    answer = await http.post("/chat/completions", json=chat(stream=True, **fields))
    assert answer.status_code == 200, answer.text
    return answer.text


def caller_of(rig: Rig) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False, timeout=10)


class RawCaller:
    """A caller that reads when it wants to, and leaves when it wants to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def post(cls, rig: Rig, path: str = "chat/completions", *, headers: str = "", **fields: Any) -> RawCaller:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=2**16)
        writer.write(cls.request(path, headers, **fields))
        await writer.drain()
        return cls(reader, writer)

    @staticmethod
    def request(path: str, headers: str, **fields: Any) -> bytes:
        body = json.dumps(chat(**fields)).encode()
        head = (
            f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{headers}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def read_until(self, text: bytes) -> bytes:
        """Everything up to and with ``text``."""
        async with asyncio.timeout(5):
            return await self.reader.readuntil(text)

    async def leave(self) -> None:
        """Reset the connection, as a caller does whose process ends."""
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Gate:
    """An upstream that answers with what a test gives it, byte for byte. One connection at a time."""

    def __init__(self) -> None:
        self.request = b""
        self.requests = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def target(self) -> Target:
        return Target(scheme="http", host="127.0.0.1", port=self.port, base_path="/v1")

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(5):
            await self.arrived.wait()
            assert self._writer is not None
            self._writer.write(data)
            await self._writer.drain()

    async def send_events(self, *events: bytes) -> None:
        await self.send(b"".join(map(framed, events)))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        assert self._writer is not None
        self._writer.close()

    def reset(self) -> None:
        assert self._writer is not None
        self._writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            while data := await reader.read(65536):
                self.request += data
                head, _, body = self.request.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                if len(body) >= length:
                    self.requests += 1
                    self.request = b""
                    self.arrived.set()
        except ConnectionError:
            pass
        finally:
            self.left.set()
            writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Gate]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._server.close()
            if self._writer is not None:
                self._writer.transport.abort()
            # A handler that still runs ends with its connection.
            async with asyncio.timeout(5):
                while self.requests and not self.left.is_set():
                    await self.left.wait()
