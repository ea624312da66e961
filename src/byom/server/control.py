"""The channel between the process that holds a hub together and one of its workers: questions both ways.

A socket pair that the worker is started with, so no other process can reach it, and its end is the other side's end.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from byom.errors import ByomError
from byom.limits.wire import Frames

log = logging.getLogger("byom.server")
Handler = Callable[[msgspec.Raw], Awaitable[Any]]
ASK_SECONDS = 5.0


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    number: int
    method: str
    body: msgspec.Raw


class Reply(msgspec.Struct, array_like=True, tag="reply"):
    number: int
    body: msgspec.Raw


class Failure(msgspec.Struct, array_like=True, tag="failure"):
    number: int
    code: str
    message: str


class AskFailed(Exception):
    """The other side could not do what it was asked. ``code`` is that of its `ByomError`, empty for a fault."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Channel(asyncio.Protocol):
    """Asks and is asked. ``handlers`` answer by method; ``on_lost`` is called once, when the other side is gone."""

    def __init__(self, handlers: Mapping[str, Handler], on_lost: Callable[[], None]) -> None:
        self._handlers = handlers
        self._on_lost = on_lost
        self._frames = Frames()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self.lost = False

    @classmethod
    async def over(
        cls, connection: socket.socket, handlers: Mapping[str, Handler], on_lost: Callable[[], None]
    ) -> Channel:
        connection.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(handlers, on_lost), sock=connection)
        return channel

    # -- asking

    async def ask(self, method: str, body: Any = None, *, timeout: float = ASK_SECONDS) -> msgspec.Raw:
        """The answer. Raises `AskFailed`, ``ConnectionError`` when the other side is gone, ``TimeoutError``."""
        if self.lost or self._transport is None:
            raise ConnectionResetError("the other process is gone")
        number = next(self._numbers)
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._send(Ask(number, method, msgspec.Raw(encode(body))))
        try:
            return await asyncio.wait_for(future, timeout)
        finally:
            self._asked.pop(number, None)

    async def ask_for(self, kind: type[Any], method: str, body: Any = None, *, timeout: float = ASK_SECONDS) -> Any:
        """As `ask`; the answer as a ``kind``."""
        return decode(await self.ask(method, body, timeout=timeout), kind)

    def tell(self, method: str, body: Any = None) -> None:
        """As `ask`, where the answer does not matter."""
        if not self.lost and self._transport is not None:
            self._send(Ask(0, method, msgspec.Raw(encode(body))))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- being asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            message = _decode_message(body)
            if isinstance(message, Ask):
                task = asyncio.ensure_future(self._answer(message))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
                continue
            future = self._asked.get(message.number)
            if future is None or future.done():
                continue
            if isinstance(message, Reply):
                future.set_result(message.body.copy())
            else:
                future.set_exception(AskFailed(message.message, message.code))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        self.lost = True
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the other process is gone"))
        for task in self._answering:
            task.cancel()
        self._on_lost()

    async def _answer(self, question: Ask) -> None:
        answer: Reply | Failure
        try:
            found = await self._handlers[question.method](question.body)
            answer = Reply(question.number, msgspec.Raw(encode(found)))
        except ByomError as error:
            answer = Failure(question.number, error.code or "", str(error))
        except Exception as error:  # the other side is told, whatever it was
            log.exception("%s of the control channel failed", question.method)
            answer = Failure(question.number, "", f"{type(error).__name__} in {question.method}")
        if question.number and not self.lost:
            self._send(answer)

    def _send(self, message: Ask | Reply | Failure) -> None:
        assert self._transport is not None
        body = encode(message)
        self._transport.write(len(body).to_bytes(4, "big") + body)


def encode(value: Any) -> bytes:
    return _encoder.encode(value)


def decode(body: bytes | msgspec.Raw, kind: Any) -> Any:
    """``body`` as a ``kind``. Raises ``msgspec.ValidationError``."""
    return msgspec.msgpack.decode(body, type=kind, dec_hook=_path_of)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} does not travel between processes")


def _path_of(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decode_message = msgspec.msgpack.Decoder(Ask | Reply | Failure).decode
