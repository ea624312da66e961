"""A client that costs little: one connection for each call at once, requests made beforehand."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field

_BODY = {"messages": [{"role": "user", "content": "What is the answer to everything?"}]}


@dataclass(slots=True)
class Window:
    """What one measurement saw; times in seconds."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Client:
    """So many connections to a host."""

    def __init__(self, port: int, token: str, model: str) -> None:
        body = json.dumps({"model": model, **_BODY}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body
        self._port = port

    async def window(self, at_once: int, *, seconds: float = 0.0, calls: int = 0) -> Window:
        """Calls one after the other on each connection: for so long, or so many in all."""
        connections = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(at_once)]
        found = Window()
        started = time.perf_counter()
        left = [calls] if calls else None
        await asyncio.gather(*(self._drive(one, found, started + seconds, left) for one in connections))
        found.seconds = time.perf_counter() - started
        for _, writer in connections:
            writer.close()
        return found

    async def _drive(
        self,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        found: Window,
        until: float,
        left: list[int] | None,
    ) -> None:
        reader, writer = connection
        while True:
            if left is None:
                if time.perf_counter() >= until:
                    return
            elif left[0] <= 0:
                return
            else:
                left[0] -= 1
            began = time.perf_counter()
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            if head.startswith(b"http/1.1 200"):
                found.latencies.append(time.perf_counter() - began)
            else:
                found.errors += 1
