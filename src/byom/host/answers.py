"""OpenAI's answers, written from the events and values of the object path."""

from __future__ import annotations

import base64
import struct
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from byom.host.served import Ranking
from byom.host.wire import RerankFields
from byom.types.chat import ChatEvent
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.usage import Usage


def usage_body(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object; details only where there is something to tell."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.estimated:
        body["estimated"] = True
    return body


def added(first: Usage | None, second: Usage) -> Usage:
    """The usage of two calls together."""
    if first is None:
        return second
    return Usage(
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        cached_tokens=first.cached_tokens + second.cached_tokens,
        reasoning_tokens=first.reasoning_tokens + second.reasoning_tokens,
        estimated=first.estimated or second.estimated,
    )


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, event: ChatEvent) -> None:
        self.text.append(event.text)
        self.reasoning.append(event.reasoning)
        self.finish_reason = event.finish_reason or self.finish_reason
        for delta in event.tool_calls or ():
            call = self.calls.setdefault(
                delta.get("index", 0), {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            )
            call["id"] = delta.get("id") or call["id"]
            for name, part in (delta.get("function") or {}).items():
                call["function"][name] = call["function"].get(name, "") + (part or "")

    def message(self) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text or (None if self.calls else ""),
            "refusal": None,
        }
        if reasoning := "".join(self.reasoning):
            message["reasoning_content"] = reasoning
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return message


class ChatAnswer:
    """One answer to a chat (or legacy completion) request, whole or as a stream."""

    def __init__(self, model: str, *, legacy: bool, include_usage: bool = False) -> None:
        self._legacy = legacy
        self._include_usage = include_usage
        self._frame = {
            "id": f"{'cmpl' if legacy else 'chatcmpl'}-{uuid.uuid4().hex}",
            "object": "text_completion" if legacy else "chat.completion",
            "created": int(time.time()),
            "model": model,
        }
        self._choices: dict[int, _Choice] = {}
        self._started: set[int] = set()
        self.usage: Usage | None = None

    # --- whole

    def add(self, event: ChatEvent) -> None:
        """Takes in one event of a whole answer."""
        if event.usage is not None:
            self.usage = added(self.usage, event.usage)
        if event.text or event.reasoning or event.tool_calls or event.finish_reason:
            self._choices.setdefault(event.index, _Choice()).add(event)

    def body(self) -> bytes:
        """The whole answer. Without usage where the model told none: unknown is not zero."""
        answer: dict[str, Any] = {**self._frame, "choices": [self._whole(index) for index in sorted(self._choices)]}
        if self.usage is not None:
            answer["usage"] = usage_body(self.usage)
        return msgspec.json.encode(answer)

    def _whole(self, index: int) -> dict[str, Any]:
        choice = self._choices[index]
        reason = choice.finish_reason or ("tool_calls" if choice.calls else "stop")
        if self._legacy:
            return {"index": index, "text": "".join(choice.text), "logprobs": None, "finish_reason": reason}
        return {"index": index, "message": choice.message(), "logprobs": None, "finish_reason": reason}

    # --- streamed

    def chunks(self, event: ChatEvent) -> bytes:
        """The server-sent events for one event of the model; often one, sometimes none."""
        if event.usage is not None:
            self.usage = added(self.usage, event.usage)
        if not (event.text or event.reasoning or event.tool_calls or event.finish_reason):
            return b""
        if self._legacy:
            return self._chunk({"index": event.index, "text": event.text}, event.finish_reason)
        opening = b""
        if event.index not in self._started:
            self._started.add(event.index)
            delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
            opening = self._chunk({"index": event.index, "delta": delta}, None)
        delta = {}
        if event.text:
            delta["content"] = event.text
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.tool_calls:
            delta["tool_calls"] = event.tool_calls
        if delta and event.finish_reason:
            # OpenAI gives the reason in a chunk of its own, and clients wait for that one.
            opening += self._chunk({"index": event.index, "delta": delta}, None)
            delta = {}
        return opening + self._chunk({"index": event.index, "delta": delta}, event.finish_reason)

    def end(self) -> bytes:
        """What ends a stream: usage where it was asked for and is known, and the mark."""
        last = b""
        if self._include_usage and self.usage is not None:
            last = self._event({**self._stream_frame(), "choices": [], "usage": usage_body(self.usage)})
        return last + b"data: [DONE]\n\n"

    def _stream_frame(self) -> dict[str, Any]:
        return self._frame if self._legacy else {**self._frame, "object": "chat.completion.chunk"}

    def _chunk(self, choice: dict[str, Any], finish_reason: str | None) -> bytes:
        chunk = {**self._stream_frame(), "choices": [{**choice, "logprobs": None, "finish_reason": finish_reason}]}
        if self._include_usage:
            chunk["usage"] = None
        return self._event(chunk)

    @staticmethod
    def _event(payload: dict[str, Any]) -> bytes:
        return b"data: " + msgspec.json.encode(payload) + b"\n\n"


def embeddings_body(made: Embeddings, model: str, as_base64: bool) -> bytes:
    """Vectors as lists of numbers, or as base64 of little-endian 32-bit floats."""
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else vector}
        for index, vector in enumerate(made.vectors)
    ]
    usage = _input_usage(made.usage)
    return msgspec.json.encode({"object": "list", "model": model, "data": data, "usage": usage})


def _input_usage(usage: Usage) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    if usage.estimated:
        body["estimated"] = True
    return body


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def rerank_body(made: Ranking, known: RerankFields, texts: Sequence[str]) -> bytes:
    """The best ``top_n`` documents, in the form that Jina, Cohere and vLLM share."""
    results: list[dict[str, Any]] = []
    for item in made.documents[: known.top_n]:
        result: dict[str, Any] = {"index": item.index, "relevance_score": item.score}
        if known.return_documents:
            result["document"] = {"text": texts[item.index]}
        results.append(result)
    usage = _input_usage(made.usage)
    frame = {"id": f"rerank-{uuid.uuid4().hex}", "object": "list", "model": known.model}
    return msgspec.json.encode({**frame, "results": results, "usage": usage})


def model_body(info: ModelInfo) -> dict[str, Any]:
    """A model as ``/models`` lists it, with what BYOM knows beyond OpenAI's fields."""
    body: dict[str, Any] = {"id": info.name, "object": "model", "created": 0, "owned_by": "byom"}
    body["abilities"] = sorted(info.abilities)
    if info.dimensions is not None:
        body["dimensions"] = info.dimensions
    if info.context_window is not None:
        body["context_window"] = info.context_window
    if "byom" in info.details:
        body["byom"] = info.details["byom"]
    return body
