"""``…/llms/streamed-completion``: server-sent events, each with a name and a JSON object.

What fails before the first event is an error answer. After that, clients that asked for it (15.x) get an
``error-chunk``; for the others (14.x), which take any other event for the end, the connection is broken.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import msgspec

from byom.server.dialects.dataiku import completion, usage
from byom.server.dialects.dataiku.chat_request import chat_body
from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.request import BrokenOff, Events, Request, mapping

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route, Snapshot
    from byom.server.dialects.dataiku.calls import Stream
    from byom.server.dialects.dataiku.services import Services

_SIGN_OF_LIFE = b": ping\n\n"


class StreamedCompletion:
    """Turns the events of an answer into those of the client, and keeps what its end is made of."""

    def __init__(self, snapshot: Snapshot, route: Route, stream: Stream) -> None:
        self._route = usage.answering(snapshot, route, stream.model)
        self._stream = stream
        self._usage: dict[str, Any] = {}
        self._finish_reason = ""
        self._reasoning: list[str] = []
        self._pieces = 0

    def chunk(self, event: dict[str, Any]) -> dict[str, Any]:
        """What is new in this event; empty where that is nothing that the client shows."""
        if isinstance(event.get("usage"), dict):
            self._usage = event
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return {}
        self._pieces += 1
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        said = choice.get("delta")
        delta: dict[str, Any] = said if isinstance(said, dict) else {}
        self._reasoning.append(completion.reasoning_of(delta))
        found: dict[str, Any] = {}
        text = completion.text_of(delta.get("content")) or completion.text_of(delta.get("refusal"))
        if text:
            found["text"] = text
        calls = completion.tool_calls(delta.get("tool_calls"), pieces=True)
        if calls:
            found["toolCalls"] = calls
        probabilities = completion.log_probs(choice)
        if probabilities:
            found["logProbs"] = probabilities
        return {"type": "content", **found} if found else {}

    def response(self) -> dict[str, Any]:
        """The end: never empty, because 15.x passes an empty one over."""
        used = usage.usage_of(self._usage) or usage.estimated(self._route, self._stream.sent, self._pieces)
        found: dict[str, Any] = {"type": "footer", "finishReason": self._finish_reason or "stop"}
        reasoning = "".join(self._reasoning)
        if reasoning:
            found["additionalInformation"] = {"reasoning": reasoning}
        return {**found, **usage.fields(used, self._route, cached=self._stream.cached)}


async def stream(services: Services, request: Request) -> Events:
    """Raises `Failure` for what fails before the first event."""
    fields = request.fields()
    route = services.route(request, fields)
    settings = mapping(fields.get("settings"), "settings")
    body = chat_body(route, mapping(fields.get("query"), "query"), settings)
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    opened = await services.calls.stream(request, "/v1/chat/completions", body)
    events = opened.events()
    made = StreamedCompletion(services.snapshot, route, opened)
    try:
        first = await _first(made, events)
    except BaseException:
        await opened.close()
        raise

    async def pieces() -> AsyncGenerator[bytes]:
        if first:
            yield first
        try:
            async for event in events:
                piece = _piece(made, event)
                if piece:
                    yield piece
        except Failure as failure:
            if fields.get("emitErrorChunk") is not True:
                raise BrokenOff(failure.code) from None
            yield encode("error-chunk", failure.details())
            return
        yield encode("completion-end", made.response())

    async def close() -> None:
        await events.aclose()
        await opened.close()

    return Events(pieces(), close)


async def _first(made: StreamedCompletion, events: AsyncGenerator[dict[str, Any] | None]) -> bytes:
    """The first piece that the client is to see; empty where there is none."""
    async for event in events:
        piece = _piece(made, event)
        if piece:
            return piece
    return b""


def _piece(made: StreamedCompletion, event: dict[str, Any] | None) -> bytes:
    if event is None:
        return _SIGN_OF_LIFE
    chunk = made.chunk(event)
    return encode("completion-chunk", chunk) if chunk else b""


def encode(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
