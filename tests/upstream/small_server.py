"""A very small web server on a real socket, whose answers a test scripts by path."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Got:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: Any = None
    """Bytes and text are sent as they are, a list of bytes as separate writes, anything else as JSON."""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close in the middle of the body."""
    hang: bool = False


Answer = Reply | Callable[[Got], Reply]


@dataclass
class SmallServer:
    port: int
    got: list[Got]
    connections: list[int]
    gone: asyncio.Event
    """Set when a caller hung up in the middle of an answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [f"{got.method} {got.path}" for got in self.got]


@contextlib.asynccontextmanager
async def small_server(
    answers: dict[str, Answer], *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[SmallServer]:
    """``answers`` by path; everything else is 404 with a JSON body."""
    got: list[Got] = []
    connections = [0]
    gone = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while await _serve_one(reader, writer, answers, got, gone):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield SmallServer(port, got, connections, gone)
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _serve_one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answers: dict[str, Answer],
    got: list[Got],
    gone: asyncio.Event,
) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if line}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    one = Got(method, path, headers, body)
    got.append(one)
    answer = answers.get(path.split("?")[0], Reply(404, {"error": {"message": f"no route {path}"}}))
    reply = answer(one) if callable(answer) else answer
    if reply.hang:
        await reader.read()
        gone.set()
        return False
    parts, kind = _parts(reply.body)
    lines = {"content-type": kind, "transfer-encoding": "chunked"} | {k.lower(): v for k, v in reply.headers.items()}
    writer.write(f"HTTP/1.1 {reply.status} X\r\n".encode())
    writer.write("".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n")
    for part in parts:
        writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0)
    if reply.cut:
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _parts(body: Any) -> tuple[list[bytes], str]:
    if isinstance(body, list) and all(isinstance(part, bytes) for part in body):
        return [part for part in body if part], "text/event-stream"
    if isinstance(body, bytes):
        return [body] if body else [], "application/octet-stream"
    if isinstance(body, str):
        return [body.encode()], "text/html"
    return [json.dumps(body).encode()], "application/json"


def model_list(*names: str, **fields: Any) -> Reply:
    return Reply(body={"object": "list", "data": [{"id": name, "object": "model", **fields} for name in names]})


def sse(*chunks: Any, done: bool = True) -> list[bytes]:
    events = [
        b"data: " + (chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()) + b"\n\n" for chunk in chunks
    ]
    return [*events, b"data: [DONE]\n\n"] if done else events
