"""The unchanged openai package behind one way to call it, asynchronous or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai

from tests.gateway.rig import MODEL, TOKEN, Rig
from tests.gateway.streams import HELLO


class AnyClient:
    """The two clients behind one way to call them: a synchronous one is called in a thread."""

    def __init__(self, rig: Rig, kind: str, **options: Any) -> None:
        settings = {"base_url": rig.url, "api_key": TOKEN, "max_retries": 0, "timeout": 10} | options
        self.asynchronous = openai.AsyncOpenAI(**settings) if kind == "async" else None
        self.synchronous = openai.OpenAI(**settings) if kind == "sync" else None

    async def call(self, path: str, **fields: Any) -> Any:
        """``path``: ``chat.completions.create``. An event stream comes back as the list of its chunks."""
        if self.asynchronous is not None:
            made = await _method(self.asynchronous, path)(**fields)
            return [one async for one in made] if isinstance(made, openai.AsyncStream) else made

        def call() -> Any:
            made = _method(self.synchronous, path)(**fields)
            return list(made) if isinstance(made, openai.Stream) else made

        return await asyncio.to_thread(call)

    async def close(self) -> None:
        if self.asynchronous is not None:
            await self.asynchronous.close()
        if self.synchronous is not None:
            await asyncio.to_thread(self.synchronous.close)


def _method(client: Any, path: str) -> Callable[..., Any]:
    for name in path.split("."):
        client = getattr(client, name)
    found: Callable[..., Any] = client
    return found


async def chat(client: AnyClient, **fields: Any) -> Any:
    return await client.call("chat.completions.create", **({"model": MODEL, "messages": HELLO} | fields))
