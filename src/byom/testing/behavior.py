"""What a fake upstream does with a request, as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

UsageMode = Literal["every_chunk_null", "final", "with_finish", "continuous", "unasked", "none"]
Cut = Literal["reset", "close", "end"]
Malformed = Literal["not_json", "wrong_shape", "bad_sse", "truncated_json", "html", "empty"]
IdleClose = Literal["after_response", "on_next_request"]
SseFeature = Literal["no_space", "crlf", "cr", "comments", "bom", "event_fields", "multiline"]


class BehaviorError(ValueError):
    """A behaviour was described with an unknown name or an impossible value."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``requests`` calls in any sliding window of ``seconds``; more are answered 429 and counted.

    ``tolerance`` (seconds) shortens the window, for callers that measure time on their own side of the network.
    """

    requests: int
    seconds: float
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.requests < 0 or self.seconds <= 0 or not 0 <= self.tolerance < self.seconds:
            raise BehaviorError("a rate limit needs requests >= 0, seconds > 0 and 0 <= tolerance < seconds")


@dataclass(frozen=True, slots=True)
class ScriptedToolCall:
    """One tool call of an answer. ``arguments`` is sent as JSON; a string is sent as it is, valid or not."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    def arguments_text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """One scripted way to answer. Every field has a harmless default: ``Behavior()`` is a well-behaved server.

    Content
        text: the answer; by default it echoes the end of what the caller sent.
        tokens: the exact pieces of the answer, one a chunk (wins over ``text``).
        chunks: number of content chunks; a given ``text`` is split into so many, else words are made up.
        tool_calls: tool calls instead of text; several are streamed as interleaved parallel deltas.
        finish_reason: overrides ``stop`` / ``length`` / ``tool_calls``.
        reasoning: sent as ``reasoning_content`` (a field the OpenAI schema does not have) before the text.
        extra, message_extra: unknown fields, put into every body or chunk, and into every message or delta.
        dimensions: size of the embedding vectors.
        prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens: what usage claims (default: counted).
        honor_max_tokens: cut the answer at ``max_tokens`` pieces, with finish reason ``length``.

    Time, in seconds
        latency: before the response head. first_byte_delay: between head and body. chunk_interval: between
        chunks. silent: one long pause before chunk number ``silent_after_chunks``. hang: never answer.
        hang_after_chunks: send so many chunks, then nothing more, with the connection open.

    Faults
        drop: ``reset`` or ``close`` the connection instead of answering.
        cut_after_chunks: stop after so many chunks (0: only the head; other than streams: half of the body),
        in the way ``cut`` says: TCP ``reset``, connection ``close`` in the middle of the body, or a tidy HTTP
        ``end`` of a truncated event stream.
        malformed: an answer that is not what was asked for. dribble: bytes per write.
        status, error, body: an error answer; ``error`` is put into the OpenAI error object, ``body`` is sent raw.
        retry_after (seconds, or any string), retry_after_ms: headers. rate_limit: 429 above it.
        error_after_chunks, stream_error: an error event in the middle of a stream, after which it ends.
        close_idle: close the connection without notice ``after_response``, or reset it ``on_next_request``
        (the keep-alive race, made certain).

    Form
        usage: when streams carry usage. ``every_chunk_null`` is what OpenAI does: with ``include_usage`` a last
        chunk has it and all others say null. ``final``: the others do not have the field. ``with_finish``: on
        the last content chunk. ``continuous``: running totals on every chunk. ``unasked``: a last chunk even
        when not asked for. ``none``: never, not even in whole answers.
        omit_done, omit_finish: leave out ``[DONE]`` or the finish reason.
        sse: legal but rare spellings of an event stream. huge_event: one extra chunk of that many characters.
        gzip: compress the body. set_cookie, headers: put into the response head.
    """

    text: str | None = None
    tokens: tuple[str, ...] | None = None
    chunks: int | None = None
    tool_calls: tuple[ScriptedToolCall, ...] = ()
    finish_reason: str | None = None
    reasoning: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    message_extra: Mapping[str, Any] = field(default_factory=dict)
    dimensions: int = 8
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    honor_max_tokens: bool = True

    latency: float = 0.0
    first_byte_delay: float = 0.0
    chunk_interval: float = 0.0
    silent: float = 0.0
    silent_after_chunks: int = 0
    hang: bool = False
    hang_after_chunks: int | None = None

    drop: Literal["reset", "close"] | None = None
    cut_after_chunks: int | None = None
    cut: Cut = "reset"
    malformed: Malformed | None = None
    dribble: int | None = None
    status: int = 200
    error: Mapping[str, Any] | str | None = None
    body: bytes | str | None = None
    retry_after: float | str | None = None
    retry_after_ms: int | None = None
    rate_limit: RateLimit | None = None
    error_after_chunks: int | None = None
    stream_error: Mapping[str, Any] = field(
        default_factory=lambda: {"message": "The engine stopped.", "type": "server_error", "code": "engine_error"}
    )
    close_idle: IdleClose | None = None

    usage: UsageMode = "every_chunk_null"
    omit_done: bool = False
    omit_finish: bool = False
    sse: frozenset[SseFeature] = frozenset()
    huge_event: int = 0
    gzip: bool = False
    set_cookie: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `BehaviorError` where two fields contradict each other or a value is out of range."""
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise BehaviorError(f"{name}={value!r}: expected one of {', '.join(allowed)}")
        unknown = sorted(set(self.sse) - set(get_args(SseFeature)))
        if unknown:
            raise BehaviorError(f"sse={unknown!r}: expected some of {', '.join(get_args(SseFeature))}")
        if {"crlf", "cr"} <= set(self.sse):
            raise BehaviorError("sse: crlf and cr exclude each other")
        if self.dribble is not None and self.dribble < 1:
            raise BehaviorError("dribble: at least 1 byte a write")
        if self.chunks is not None and self.chunks < 0:
            raise BehaviorError("chunks: not negative")

    def but(self, **changes: Any) -> Behavior:
        """The same behaviour with some fields changed."""
        return replace(self, **changes)

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Behavior:
        """Builds a behaviour from ``name=value`` texts, as the command line gives them.

        Values are JSON where they parse as JSON, else plain text; ``rate_limit=5/10`` is five a ten seconds and
        ``sse=crlf,bom`` a set. Raises `BehaviorError` for an unknown name or a value that does not fit.
        """
        known = {item.name for item in fields(cls)}
        values: dict[str, Any] = {}
        for setting in settings:
            name, separator, text = setting.partition("=")
            if not separator or name not in known:
                raise BehaviorError(f"{setting!r}: expected name=value with a name out of {', '.join(sorted(known))}")
            values[name] = _parse_value(name, text)
        try:
            return cls(**values)
        except TypeError as error:
            raise BehaviorError(str(error)) from error


_CHOICES: dict[str, tuple[str, ...]] = {
    "usage": get_args(UsageMode),
    "cut": get_args(Cut),
    "malformed": get_args(Malformed),
    "close_idle": get_args(IdleClose),
    "drop": ("reset", "close"),
}
_TEXT_FIELDS = frozenset({"text", "body", "reasoning", "set_cookie", "finish_reason"})


def _parse_value(name: str, text: str) -> Any:
    if name in _TEXT_FIELDS:
        return text
    if name == "sse":
        return frozenset(part for part in text.split(",") if part)
    if name == "rate_limit":
        return _parse_rate(text)
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if name == "tokens":
        return tuple(value)
    if name == "tool_calls":
        return tuple(ScriptedToolCall(**call) for call in value)
    return value


def _parse_rate(text: str) -> RateLimit:
    count, _, seconds = text.partition("/")
    try:
        return RateLimit(int(count), float(seconds))
    except ValueError as error:
        raise BehaviorError(f"rate_limit={text!r}: expected requests/seconds, such as 5/10") from error
