"""What is done with an answer as it arrives: one class for each shape that an answer can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from byom.errors import ByomError, UpstreamProtocol
from byom.gateway import account, answers, attempts
from byom.gateway.synthesis import as_event_stream
from byom.gateway.tee import StreamTee, UsageForm
from byom.gateway.usage import Answer, read_answer, usage_in_tail
from byom.types.usage import Usage

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange

KEEP_WHOLE = 256 * 1024
"""Bytes of a JSON answer that are kept to be read whole; a longer one is passed on as it comes."""
TAIL = 16 * 1024
"""Bytes of the end of a long answer that are kept, because usage stands there."""
MAX_TO_STREAM = 16 * 1024 * 1024
"""Bytes of the largest JSON answer that is made into an event stream."""


class Reply(Protocol):
    """``good``: not an error, so what has gone out of it cannot be taken back."""

    good: bool

    @property
    def ended(self) -> bool:
        """The caller has the whole answer, although the upstream has not ended it yet."""

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


class WholeReply:
    """A JSON answer. Sent in one piece, with its length and with what the hub added to its latency."""

    __slots__ = ("_exchange", "_held", "_overflowed", "_parts", "_size", "answer_id", "usage")
    good = True
    ended = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._parts: list[bytes] = []
        self._size = 0
        self._overflowed = False
        self._held = b""
        self.usage: Usage | None = None
        self.answer_id = ""

    def produced(self) -> int:
        return self._size // 4

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        self._parts.append(data)
        exchange = self._exchange
        if self._overflowed:
            self._pass(data)
            while len(self._parts) > 1 and sum(map(len, self._parts[1:])) >= TAIL:
                del self._parts[0]
        elif self._size > KEEP_WHOLE and not exchange.streams:
            self._overflowed = True
            exchange.begin_answer(answers.JSON, exchange.announced_length)
            for part in self._parts:
                self._pass(part)
        elif self._size > MAX_TO_STREAM:
            exchange.fail(UpstreamProtocol("The model's server answered a stream request with one JSON too large."))

    def _pass(self, data: bytes) -> None:
        """Where usage is needed, the end waits until usage is known: a caller must not take the answer for whole."""
        if self._exchange.needs_usage:
            data, self._held = self._held, data
        if data:
            self._exchange.write(data)

    def on_end(self) -> None:
        exchange = self._exchange
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._overflowed:
            self.usage = usage_in_tail(body[-TAIL:])
            if self.usage is None and exchange.needs_usage:
                exchange.answer_broke(no_usage())
                return
            if self._held:
                exchange.write(self._held)
            exchange.complete()
            return
        if exchange.raw and not body:
            exchange.complete_with(body)
            return
        answer = read_answer(body)
        if answer is None:
            attempts.failed(exchange, _not_json(body))
            return
        if answer.failed and not len(memoryview(answer.choices)):
            attempts.failed(exchange, UpstreamProtocol(f"The model's server answered with an error: {_excerpt(body)}"))
            return
        self._read(answer)
        if self.usage is None and exchange.needs_usage:
            exchange.fail(no_usage())
        elif exchange.streams:
            self._answer_as_stream(body)
        else:
            exchange.complete_with(body)

    def _read(self, answer: Answer) -> None:
        if answer.usage is not None:
            self.usage = answer.usage.tokens()
        self.answer_id = answer.id or ""

    def _answer_as_stream(self, body: bytes) -> None:
        exchange = self._exchange
        usage = account.missing_usage(exchange, self.produced()) if self.usage is None else None
        events = as_event_stream(body, wants_usage=exchange.envelope.wants_usage, usage=usage)
        if events is None:
            attempts.failed(exchange, UpstreamProtocol(f"The model's server answered no completion: {_excerpt(body)}"))
            return
        exchange.begin_answer(answers.EVENT_STREAM, None)
        exchange.write(events)
        exchange.complete()


class StreamReply:
    """An event stream. Its events pass as they come."""

    __slots__ = ("_exchange", "_tee", "ended")
    good = True

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tee = StreamTee(_usage_form(exchange))
        self.ended = False
        exchange.begin_answer(answers.EVENT_STREAM, None)

    @property
    def quiet(self) -> bool:
        """A comment line may be put in now."""
        return not self.ended and not self._tee.inside_event

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
        if self._tee.done and not self.ended:
            self._end()

    def on_end(self) -> None:
        exchange, tee = self._exchange, self._tee
        rest, whole = tee.finish()
        if rest:
            exchange.write(rest)
        if tee.failed:
            exchange.answer_broke(None)
        elif not whole and (not exchange.raw or exchange.head.path in _ENDED_BY_AN_EVENT):
            exchange.answer_broke(
                UpstreamProtocol("The model's server ended its answer early: it did not say that it had finished.")
            )
        elif self.ended or self._end():
            exchange.complete()

    def _end(self) -> bool:
        """Pass on the end of a whole stream; False when the call has to fail instead."""
        exchange, tee = self._exchange, self._tee
        if exchange.raw:
            last = tee.done_event if tee.done else b""
        elif tee.usage is None and exchange.needs_usage:
            exchange.answer_broke(no_usage())
            return False
        else:
            usage = account.missing_usage(exchange, tee.events) if tee.usage is None else None
            last = tee.usage_chunk(usage) + tee.done_event
        if last:
            exchange.write(last)
        self.ended = True
        return True


class RawReply:
    """Anything else (audio, files): passed on as it comes."""

    __slots__ = ("_exchange", "_size", "answer_id", "usage")
    good = True
    ended = False

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
    ended = False

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
        attempts.refused(self._exchange, self._status, self._body, answers.retry_after(self._headers))


_ENDED_BY_AN_EVENT = frozenset({"responses", "messages"})
"""Routes that pass as they come, whose streams end in an event that says so."""


def _usage_form(exchange: Exchange) -> UsageForm:
    options = exchange.envelope.stream_options
    if exchange.raw or (options is not None and options.continuous_usage_stats):
        return "as-is"
    return "last" if exchange.envelope.wants_usage else "strip"


def no_usage() -> ByomError:
    return UpstreamProtocol(
        "The model's server did not say how many tokens it used, and this model's policy for that is to fail."
    )


def _not_json(body: bytes) -> ByomError:
    return UpstreamProtocol(
        f"The model's server did not answer with JSON but with {_excerpt(body)!r}. "
        "Is its URL that of an OpenAI-style API?"
    )


def _excerpt(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")
