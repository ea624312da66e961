"""The little of HTTP that a host needs on top of ASGI: bodies, JSON answers, and callers who leave."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from byom.errors import ByomError, PayloadTooLarge

T = TypeVar("T")


class CallerLeft(Exception):
    """The caller has closed the connection; nobody reads an answer."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose caller is known, with its whole body."""

    scope: Scope
    body: bytes
    send: Send
    request_id: str


Route = Callable[[Incoming], Coroutine[Any, Any, None]]
"""Answers a request. It is cancelled when the caller leaves."""


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a (lower case) name."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises `PayloadTooLarge` as soon as it is over ``limit`` bytes, and `CallerLeft`."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        if not message.get("more_body", False):
            return b"".join(parts)


async def until_caller_leaves(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """The result of ``work``, which is cancelled (and its end awaited) when the caller leaves: `CallerLeft`."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise CallerLeft
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_json(send: Send, body: bytes, request_id: str, status: int = 200, *extra: tuple[bytes, bytes]) -> None:
    """One JSON answer."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode("latin-1")),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: ByomError, request_id: str, *extra: tuple[bytes, bytes]) -> None:
    """An error in OpenAI's form."""
    if error.retry_after is not None:
        extra = (*extra, (b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()))
    await send_json(send, msgspec.json.encode(error.body()), request_id, error.status, *extra)


async def start_events(send: Send, request_id: str) -> None:
    """The head of an event stream."""
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
        (b"x-request-id", request_id.encode("latin-1")),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
