"""OpenAI's chat and embedding forms: requests to JSON, answers to events."""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from byom.errors import UpstreamError, UpstreamProtocol
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.usage import Usage
from byom.upstream.answer_errors import error_for, redacted

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]

_NAMED = ("temperature", "top_p", "stop", "seed", "n", "tools", "tool_choice", "response_format")


def chat_body(
    request: ChatRequest, model: str, *, max_tokens_field: MaxTokensField = "max_tokens", ask_usage: bool = True
) -> dict[str, Any]:
    """The JSON body of a streamed chat call. A field that is ``None`` is left out; 0, "" and [] are sent."""
    body: dict[str, Any] = {"model": model, "messages": request.messages}
    for name in _NAMED:
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.max_tokens is not None:
        body[max_tokens_field] = request.max_tokens
    body["stream"] = True
    if ask_usage:
        body["stream_options"] = {"include_usage": True}
    return body | request.extra


def usage_of(fields: Any) -> Usage | None:
    """Usage from its JSON object; ``None`` when there is none in it."""
    if not isinstance(fields, Mapping):
        return None
    prompt = _count(fields, "prompt_tokens") or _count(fields, "input_tokens")
    completion = _count(fields, "completion_tokens") or _count(fields, "output_tokens")
    if not prompt and not completion:
        prompt = _count(fields, "total_tokens")
        if not prompt:
            return None
    before = fields.get("prompt_tokens_details") or fields.get("input_tokens_details")
    after = fields.get("completion_tokens_details") or fields.get("output_tokens_details")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=_count(before, "cached_tokens"),
        cache_write_tokens=_count(before, "cache_write_tokens"),
        audio_prompt_tokens=_count(before, "audio_tokens"),
        reasoning_tokens=_count(after, "reasoning_tokens"),
        audio_completion_tokens=_count(after, "audio_tokens"),
        estimated=fields.get("estimated") is True,
    )


def _count(fields: Any, name: str) -> int:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def decoded(data: bytes, model: str, secret: str | None = None) -> dict[str, Any]:
    """A JSON object from an answer. Raises `UpstreamProtocol` with the beginning of what came instead."""
    try:
        chunk = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = redacted(data[:200].decode("utf-8", "replace"), secret)
        raise UpstreamProtocol(f"The server of model '{model}' answered with something not JSON: {shown}") from error
    if not isinstance(chunk, dict):
        raise UpstreamProtocol(f"The server of model '{model}' answered with JSON that is not an object.")
    return chunk


def raise_error_in(chunk: Mapping[str, Any], model: str, secret: str | None = None) -> None:
    """Servers report what goes wrong in the middle of a stream as an event with ``error``."""
    error = chunk.get("error")
    if not error:
        return
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, int) and 400 <= code <= 599:
        raise error_for(code, {}, msgspec.json.encode(chunk), secret=secret, model=model)
    message = error.get("message") if isinstance(error, Mapping) else error
    raise UpstreamError(f"The server of model '{model}' broke its answer off: {redacted(str(message), secret)[:600]}")


def events_of(chunk: dict[str, Any], model: str) -> list[ChatEvent]:
    """One event for each choice of a chunk (or of a whole answer). Usage is not in them: see `usage_of`."""
    choices = chunk.get("choices")
    if choices is None:
        choices = []
    if not isinstance(choices, list):
        raise UpstreamProtocol(f"The server of model '{model}' sent 'choices' that is not a list.")
    return [_event(choice, chunk, model) for choice in choices]


def _event(choice: Any, chunk: dict[str, Any], model: str) -> ChatEvent:
    if not isinstance(choice, Mapping):
        raise UpstreamProtocol(f"The server of model '{model}' sent a choice that is not an object.")
    delta = choice.get("delta") or choice.get("message") or {}
    if not isinstance(delta, Mapping):
        raise UpstreamProtocol(f"The server of model '{model}' sent a delta that is not an object.")
    index = choice.get("index")
    named = chunk.get("model")
    return ChatEvent(
        index=index if isinstance(index, int) else 0,
        text=_text(delta.get("content")),
        reasoning=_text(delta.get("reasoning_content") or delta.get("reasoning")),
        tool_calls=_tool_calls(delta.get("tool_calls")),
        finish_reason=choice.get("finish_reason") or None,
        model=named if isinstance(named, str) else None,
        raw=chunk,
    )


def _text(content: Any) -> str:
    """Text, or the texts of a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, Mapping) and _is_text(part.get("text")))
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _tool_calls(calls: Any) -> list[dict[str, Any]] | None:
    """Deltas with their ``index``; whole answers have none, so the position stands for it."""
    if not isinstance(calls, list) or not calls:
        return None
    return [
        {"index": position} | dict(call) if call.get("index") is None else dict(call)
        for position, call in enumerate(calls)
        if isinstance(call, Mapping)
    ]


def vectors_of(answer: Mapping[str, Any], count: int, model: str) -> list[list[float]]:
    """The vectors in the order of the texts. Raises `UpstreamProtocol` unless there are ``count`` of one length."""
    entries = answer.get("data")
    if not isinstance(entries, list) or len(entries) != count:
        got = len(entries) if isinstance(entries, list) else "no"
        raise UpstreamProtocol(f"The server of model '{model}' sent {got} embeddings for {count} texts.")
    by_index: dict[int, list[float]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise UpstreamProtocol(f"The server of model '{model}' sent an embedding that is not an object.")
        index = entry.get("index")
        by_index[index if isinstance(index, int) else position] = _vector(entry.get("embedding"), model)
    if sorted(by_index) != list(range(count)) or len({len(vector) for vector in by_index.values()}) > 1:
        raise UpstreamProtocol(f"The server of model '{model}' sent embeddings of different lengths or doubled places.")
    return [by_index[position] for position in range(count)]


def _vector(value: Any, model: str) -> list[float]:
    if isinstance(value, str):  # encoding_format=base64: little-endian 32-bit floats
        floats = array.array("f")
        try:
            floats.frombytes(base64.b64decode(value, validate=True))
        except ValueError as error:
            raise UpstreamProtocol(f"The server of model '{model}' sent an embedding that is not base64.") from error
        if sys.byteorder == "big":
            floats.byteswap()
        return floats.tolist()
    if isinstance(value, list) and all(isinstance(number, int | float) for number in value):
        return [float(number) for number in value]
    raise UpstreamProtocol(f"The server of model '{model}' sent an embedding that is not a list of numbers.")
