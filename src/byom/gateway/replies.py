"""What is done with an answer as it arrives: one class for each shape that an answer can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from byom.errors import ByomError, UpstreamProtocol
from byom.gateway import answers
from byom.gateway.synthesis import as_event_stream
from byom.gateway.tee import StreamTee
from byom.gateway.usage import Answer, read_answer, usage_in_tail
from byom.types.usage import Usage

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange

KEEP_WHOLE = 256 * 1024
"""Bytes of a JSON answer that are kept to be read whole; a longer one is passed on as it comes."""
TAIL = 16 * 1024
"""Bytes of the end of a long answer that are kept, because usage stands there."""


class Reply(Protocol):
    """``good``: not an error, so what has gone out of it cannot be taken back."""

    good: bool

    @property
    def usage(self) -> Usage | None: ...
    @property
    def answer_id(self) -> str: ...

    def on_data(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...
    def produced(self) -> int:
        """Tokens of the answer so far, about; used where the upstream does not say."""


def for_head(exchange: Exchange, status: int, headers: dict[bytes, bytes]) -> Reply:
    """The reply that fits the head of an answer."""
    if not 200 <= status < 300:
        return ErrorReply(exchange, status, headers)
    kind = headers.get(b"content-type", b"")
    length = headers.get(b"content-length")
    exchange.announced_length = int(length) if length is not None else None
    if kind.startswith(b"text/event-stream"):
        return StreamReply(exchange)
    if exchange.raw and not kind.startswith(b"application/json"):
        lines = answers.header(b"content-type", kind or b"application/octet-stream")
        if b"content-disposition" in headers:
            lines += answers.header(b"content-disposition", headers[b"content-disposition"])
        return RawReply(exchange, lines)
    return WholeReply(exchange)


def plain_answer(headers: dict[bytes, bytes], data: bytes) -> Answer | None:
    """What a good JSON answer says; ``None`` for anything that has to be looked at more closely."""
    if not headers.get(b"content-type", b"").startswith(b"application/json"):
        return None
    answer = read_answer(data)
    if answer is None or len(memoryview(answer.error)):
        return None
    return answer


class WholeReply:
    """A JSON answer. Sent in one piece, with its length and with what the hub added to its latency."""

    __slots__ = ("_exchange", "_overflowed", "_parts", "_size", "answer_id", "usage")
    good = True

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._parts: list[bytes] = []
        self._size = 0
        self._overflowed = False
        self.usage: Usage | None = None
        self.answer_id = ""

    def produced(self) -> int:
        return self._size // 4

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        self._parts.append(data)
        exchange = self._exchange
        if self._overflowed:
            exchange.write(data)
            while len(self._parts) > 1 and sum(map(len, self._parts[1:])) >= TAIL:
                del self._parts[0]
        elif self._size > KEEP_WHOLE and not exchange.streams:
            self._overflowed = True
            exchange.begin_answer(answers.JSON, exchange.announced_length)
            for part in self._parts:
                exchange.write(part)

    def on_end(self) -> None:
        exchange = self._exchange
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._overflowed:
            self.usage = usage_in_tail(body[-TAIL:])
            exchange.complete()
            return
        if exchange.raw and not body:
            exchange.complete_with(body)
            return
        answer = read_answer(body)
        if answer is None:
            exchange.attempt_failed(_not_json(body))
            return
        if answer.failed and not len(memoryview(answer.choices)):
            exchange.attempt_failed(UpstreamProtocol(f"The model's server answered with an error: {_excerpt(body)}"))
            return
        self._read(answer)
        if exchange.streams:
            self._answer_as_stream(body)
        else:
            exchange.complete_with(body)

    def _read(self, answer: Answer) -> None:
        if answer.usage is not None:
            self.usage = answer.usage.tokens()
        self.answer_id = answer.id or ""

    def _answer_as_stream(self, body: bytes) -> None:
        exchange = self._exchange
        events = as_event_stream(body, wants_usage=exchange.envelope.wants_usage)
        if events is None:
            exchange.complete_with(body)
            return
        exchange.begin_answer(answers.EVENT_STREAM, None)
        exchange.write(events)
        exchange.complete()


class StreamReply:
    """An event stream. Its events pass as they come."""

    __slots__ = ("_exchange", "_tee")
    good = True

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tee = StreamTee(wants_usage=exchange.envelope.wants_usage or exchange.raw)
        exchange.begin_answer(answers.EVENT_STREAM, None)

    @property
    def usage(self) -> Usage | None:
        return self._tee.usage

    @property
    def answer_id(self) -> str:
        return self._tee.answer_id

    def produced(self) -> int:
        return self._tee.events

    def on_data(self, data: bytes) -> None:
        out = self._tee.feed(data)
        if out:
            self._exchange.write(out)

    def on_end(self) -> None:
        exchange, tee = self._exchange, self._tee
        rest, whole = tee.finish()
        if rest:
            exchange.write(rest)
        if tee.failed:
            exchange.answer_broke(None)
        elif not whole:
            exchange.answer_broke(
                UpstreamProtocol("The model's server ended its answer early: no finish_reason and no [DONE].")
            )
        else:
            if not tee.done and not exchange.raw:
                exchange.write(b"data: [DONE]\n\n")
            exchange.complete()


class RawReply:
    """Anything else (audio, files): passed on as it comes."""

    __slots__ = ("_exchange", "_size", "answer_id", "usage")
    good = True

    def __init__(self, exchange: Exchange, headers: bytes) -> None:
        self._exchange = exchange
        self._size = 0
        self.usage: Usage | None = None
        self.answer_id = ""
        exchange.begin_answer(headers, exchange.announced_length)

    def produced(self) -> int:
        return 0

    def on_data(self, data: bytes) -> None:
        self._exchange.write(data)

    def on_end(self) -> None:
        self._exchange.complete()


class ErrorReply:
    """An answer with an error status: read whole, then retried, translated or passed on."""

    __slots__ = ("_body", "_exchange", "_headers", "_status", "answer_id", "usage")
    good = False

    def __init__(self, exchange: Exchange, status: int, headers: dict[bytes, bytes]) -> None:
        self._exchange = exchange
        self._status = status
        self._headers = headers
        self._body = b""
        self.usage: Usage | None = None
        self.answer_id = ""

    def produced(self) -> int:
        return 0

    def on_data(self, data: bytes) -> None:
        if len(self._body) < answers.MAX_ERROR_BODY:
            self._body += data

    def on_end(self) -> None:
        self._exchange.upstream_refused(self._status, self._body, answers.retry_after(self._headers))


def _not_json(body: bytes) -> ByomError:
    return UpstreamProtocol(
        f"The model's server did not answer with JSON but with {_excerpt(body)!r}. "
        "Is its URL that of an OpenAI-style API?"
    )


def _excerpt(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")
