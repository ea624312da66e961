"""Long work, told as it goes: a stream of server-sent events that ends with ``report`` or ``error``.

All long work of the management API answers like this where ``Accept: text/event-stream`` asks for it, and else with
its outcome alone. It stops when nobody reads any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from byom.errors import ByomError
from byom.server.api.departure import while_there
from byom.server.api.problems import of_exception

EVENT_STREAM = "text/event-stream"
KEEPALIVE_SECONDS = 15.0
Tell = Callable[[str, Mapping[str, Any]], None]
Outcome = TypeVar("Outcome", bound=BaseModel)
Work: TypeAlias = Callable[[Tell], Coroutine[Any, Any, Outcome]]


def streamed(schema: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: what it answers either way."""
    return {
        status: {
            "content": {
                EVENT_STREAM: {"schema": {"type": "string"}},
                "application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}},
            },
            "description": "The outcome; as events, the last of which is `report` or `error`, where asked for.",
        }
    }


async def answer(request: Request, work: Work[Outcome]) -> Outcome | Response:
    """The outcome of ``work``, or its events as they come. ``work`` is given what tells of its progress."""
    if EVENT_STREAM in request.headers.get("accept", ""):
        return StreamingResponse(_events(work), media_type=EVENT_STREAM)
    return await while_there(request, work(_quiet))


def _quiet(_kind: str, _news: Mapping[str, Any]) -> None:
    """Nobody listens."""


async def _events(work: Work[Outcome]) -> AsyncIterator[bytes]:
    news: asyncio.Queue[bytes | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(lambda kind, told: news.put_nowait(event(kind, told))))
    task.add_done_callback(lambda _: news.put_nowait(None))
    try:
        while True:
            try:
                found = await asyncio.wait_for(news.get(), KEEPALIVE_SECONDS)
            except TimeoutError:
                found = b": still at work\n\n"
            if found is None:
                break
            yield found
        failure = task.exception()
        if failure is None:
            yield event("report", task.result().model_dump(mode="json"))
            return
        known = of_exception(failure) if isinstance(failure, Exception) else None
        error = known or ByomError("A fault of the hub; its log has the details.")
        yield event("error", {**error.body(), "status": error.status})
        if known is None:
            raise failure
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def event(name: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
