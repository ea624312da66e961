"""An upstream that answers with exactly the bytes that it is given."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from byom.catalog.snapshot import Snapshot
from byom.gateway.http.pool import Pool
from byom.types.target import Target
from tests.gateway.rig import Rig, route_to, snapshot_of, until

Answer = bytes | list[bytes]
"""Bytes in one piece, or in several, each of them read before the next one comes."""


class RawUpstream:
    """Answers its requests in turn. ``requests``: what came, head and body, as bytes."""

    def __init__(self, answers: list[Answer], *, close: bool = False) -> None:
        self.answers: list[Answer] = list(answers)
        self.requests: list[bytes] = []
        self.accepted = 0
        self._close = close
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._serving = 0

    @property
    def target(self) -> Target:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return Target(scheme="http", host="127.0.0.1", port=port, base_path="/v1", authorization="Bearer up-key")

    def snapshot(self, **changes: Any) -> Snapshot:
        return snapshot_of(route_to(self.target, **changes))

    @staticmethod
    def pool(rig: Rig) -> Pool:
        (upstream,) = rig.gateway._upstreams.values()
        return upstream.pool

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        self._serving += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self._answer(writer)
                if self._close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._serving -= 1

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        answer = self.answers.pop(0)
        for piece in [answer] if isinstance(answer, bytes) else answer:
            writer.write(piece)
            await writer.drain()
            # The gateway is in the same loop: it reads this piece before the next one is written.
            for _ in range(20):
                await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await until(lambda: not self._serving)
