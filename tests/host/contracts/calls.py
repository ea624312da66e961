"""Calls of served models, whichever way they are served."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from byom.host.worker.contract import Context, Embedded, Event, Served


def events(
    served: Served, request: dict[str, Any] | str, user: str = "", context: Context | None = None
) -> list[Event]:
    """The events of a chat call; a text stands for one message of the user."""
    if isinstance(request, str):
        request = {"messages": [{"role": "user", "content": request}]}
    made: Any = served.chat(request, context or Context(user=user))
    if not served.asynchronous:
        return list(made)

    async def collect() -> list[Event]:
        return [event async for event in made]

    return asyncio.run(collect())


def text(served: Served, request: dict[str, Any] | str, user: str = "") -> str:
    return "".join(event.get("text", "") for event in events(served, request, user))


def usage(served: Served, request: dict[str, Any] | str) -> Any:
    return events(served, request)[-1].get("usage")


def embed(served: Served, texts: Sequence[str]) -> Embedded:
    made: Any = served.embed(texts, {}, Context())
    return asyncio.run(made) if served.asynchronous else made
