"""Answers while they arrive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Self

import httpx2

from byom._client.answers import Answer, Piece, pieces_of, whole
from byom._client.failures import raise_unreachable
from byom._client.link import Link
from byom._client.place import Place
from byom._client.told import Told, told
from byom.errors import UpstreamProtocol
from byom.models.collect import collect
from byom.models.wire import decoded, raise_error_in
from byom.types.chat import ChatEvent
from byom.upstream.sse import SSEDecoder

_DONE = b"[DONE]"


class AsyncChatStream:
    """Iterates the pieces of an answer as they come.

    Closing it (`aclose`, leaving ``async with``, or letting go of it) stops the call at the model's server. An error
    in the middle of the answer is raised where the next piece was expected.
    """

    def __init__(self, link: Link, model: str) -> None:
        """Use `open`."""
        self._link = link
        self._model = model
        self._open = contextlib.AsyncExitStack()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._seen: list[Piece] = []
        self._pieces: AsyncGenerator[Piece, None] | None = None
        self._said = Told()

    @classmethod
    async def open(cls, link: Link, path: str, body: dict[str, Any]) -> Self:
        """Send the call and wait for the head of its answer. Raises the hub's error."""
        stream = cls(link, body["model"])
        try:
            response = await stream._open.enter_async_context(link.stream("POST", path, body))
        except BaseException:
            stream._closed = True
            raise
        stream._said = told(response.headers)
        stream._pieces = _read(response, stream._model, link.place)
        return stream

    @property
    def request_id(self) -> str:
        return self._said.request_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if self._closed or self._pieces is None:
            raise StopAsyncIteration
        try:
            piece = await anext(self._pieces)
        except BaseException:
            await self.aclose()
            raise
        self._seen.append(piece)
        return piece

    async def answer(self) -> Answer:
        """Read what is left, and put the whole answer together (what came before a `aclose`, after one)."""
        async for _ in self:
            pass

        async def events() -> AsyncIterator[ChatEvent]:
            for piece in self._seen:
                yield piece

        return whole(await collect(events()), raw={}, said=self._said)

    async def aclose(self) -> None:
        """Stop. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._pieces is not None:
            await self._pieces.aclose()
        await self._open.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # A loop that breaks off lets go of the stream without closing it; the call must not run on.
        if self._closed or self._loop.is_closed():
            return
        pieces, rest = self._pieces, self._open

        async def close() -> None:
            if pieces is not None:
                await pieces.aclose()
            await rest.aclose()

        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(_start, close)


# A function of its own: it must not keep the stream that it reads for, or letting go of that would not be noticed.
async def _read(response: httpx2.Response, model: str, place: Place) -> AsyncGenerator[Piece, None]:
    if "event-stream" not in response.headers.get("content-type", ""):
        for piece in pieces_of(decoded(await response.aread(), model), model):
            yield piece
        return
    decoder = SSEDecoder()
    finished = False
    try:
        async for chunk in response.aiter_bytes():
            for data in decoder.feed(chunk):
                if data == _DONE:
                    return
                for piece in _pieces_in(data, model):
                    finished = finished or piece.finish_reason is not None
                    yield piece
    except httpx2.HTTPError as error:
        raise_unreachable(error, place)
    rest = decoder.finish()
    if rest is not None and rest != _DONE:
        for piece in _pieces_in(rest, model):
            finished = finished or piece.finish_reason is not None
            yield piece
    if rest != _DONE and not finished:
        raise UpstreamProtocol(f"The answer of model '{model}' broke off.")


def _pieces_in(data: bytes, model: str) -> list[Piece]:
    chunk = decoded(data, model)
    raise_error_in(chunk, model)
    return pieces_of(chunk, model)


_closing: set[asyncio.Task[None]] = set()


def _start(close: Any) -> None:
    task = asyncio.get_running_loop().create_task(close(), name="close a stream that was let go")
    _closing.add(task)
    task.add_done_callback(_closing.discard)
