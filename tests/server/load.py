"""Callers who keep a hub busy and remember every answer that they got whole."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import httpx2

from tests.server.processes import ASK, HubProcess


class Load:
    """``finished``: the request ids of whole answers. ``broken``: calls without one; ``refused``: by status."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.broken = 0
        self.refused: Counter[int] = Counter()
        self.stopping = False

    async def call(self, client: httpx2.AsyncClient, model: str, *, stream: bool) -> None:
        body = {"model": model, "stream": stream, **ASK}
        try:
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                text = await answer.aread()
        except httpx2.HTTPError:
            self.broken += 1
            await asyncio.sleep(0.005)
            return
        if answer.status_code != 200:
            self.refused[answer.status_code] += 1
        elif stream and not text.rstrip().endswith(b"data: [DONE]"):
            self.broken += 1
        else:
            self.finished.append(answer.headers["x-request-id"])

    async def caller(self, client: httpx2.AsyncClient, model: str, *, stream: bool) -> None:
        while not self.stopping:
            await self.call(client, model, stream=stream)

    @contextlib.asynccontextmanager
    async def on(
        self, hub: HubProcess, key: str, *, callers: int = 12, model: str = "plain", fresh: bool = False
    ) -> AsyncIterator[None]:
        """Callers call, every other one for a stream, until the block is left; calls under way are then awaited."""
        self.stopping = False
        async with hub.client(key, fresh=fresh) as client:
            tasks = [asyncio.ensure_future(self.caller(client, model, stream=bool(n % 2))) for n in range(callers)]
            try:
                yield
            finally:
                self.stopping = True
                await asyncio.gather(*tasks)
