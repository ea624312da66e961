"""HTTP written and read byte by byte, for what no client library would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.gateway.rig import MODEL, TOKEN

HELLO = [{"role": "user", "content": "Hello"}]


def body_of(**fields: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": HELLO} | fields).encode()


def post(
    body: bytes = b"",
    *lines: str,
    path: str = "/v1/chat/completions",
    token: str | None = TOKEN,
    length: int | str | None = -1,
    version: str = "1.1",
    method: str = "POST",
) -> bytes:
    """A request as bytes. ``length``: of the body as it is, or another one, or no such header (``None``)."""
    head = [f"{method} {path} HTTP/{version}", "Host: hub", *lines]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    if length is not None:
        head.append(f"Content-Length: {len(body) if length == -1 else length}")
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body


def chunked(*parts: bytes, trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json()["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        assert self.headers["x-request-id"]
        return error


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def line(self) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def reply(self, *, bodiless: bool = False) -> Reply:
        """The next answer, whole."""
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            if bodiless:
                body = b""
            elif headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            elif "content-length" in headers:
                body = await self._reader.readexactly(int(headers["content-length"]))
            else:
                body = await self._reader.read()
        return Reply(int(head[0].split(" ")[1]), headers, body)

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self._reader.readline(), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readline()
        return b"".join(parts)

    async def ended(self) -> bytes:
        """What was sent until the connection ended."""
        async with asyncio.timeout(5):
            return await self._reader.read()

    async def call(self, data: bytes) -> Reply:
        await self.send(data)
        return await self.reply()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
