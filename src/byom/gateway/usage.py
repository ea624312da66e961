"""Reads what an answer says about itself: its id, its usage, its error. Any dialect of the ``/v1`` routes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from byom.types.usage import Usage


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | float | None = None
    cache_write_tokens: int | float | None = None
    audio_tokens: int | float | None = None
    reasoning_tokens: int | float | None = None


class WireUsage(msgspec.Struct, gc=False):
    """Chat, completions and embeddings say ``prompt_tokens``; the responses route says ``input_tokens``."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    total_tokens: int | float | None = None
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def tokens(self) -> Usage:
        prompt = int(self.prompt_tokens or self.input_tokens or 0)
        completion = int(self.completion_tokens or self.output_tokens or 0)
        if not prompt and not completion:
            prompt = int(self.total_tokens or 0)
        usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
        before = self.prompt_tokens_details or self.input_tokens_details
        if before is not None:
            usage.cached_tokens = int(before.cached_tokens or 0)
            usage.cache_write_tokens = int(before.cache_write_tokens or 0)
            usage.audio_prompt_tokens = int(before.audio_tokens or 0)
        after = self.completion_tokens_details or self.output_tokens_details
        if after is not None:
            usage.reasoning_tokens = int(after.reasoning_tokens or 0)
            usage.audio_completion_tokens = int(after.audio_tokens or 0)
        return usage


class _Nested(msgspec.Struct, gc=False):
    """The ``response`` of an event of the responses route."""

    id: str | None = None
    usage: WireUsage | None = None


class Answer(msgspec.Struct, gc=False):
    """An answer, or one event of a stream."""

    id: str | None = None
    choices: msgspec.Raw = msgspec.Raw()
    usage: WireUsage | None = None
    error: msgspec.Raw = msgspec.Raw()
    response: _Nested | None = None

    @property
    def failed(self) -> bool:
        return len(memoryview(self.error)) > 0 and bytes(self.error) != b"null"

    @property
    def empty_choices(self) -> bool:
        return bytes(self.choices).translate(None, b" \t\r\n") == b"[]"


_decode = msgspec.json.Decoder(Answer).decode
_loose = msgspec.json.Decoder(dict[str, Any]).decode
_TAIL = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')
_wire = msgspec.json.Decoder(WireUsage).decode


def read_answer(data: bytes) -> Answer | None:
    """``None`` when it is not a JSON object. A field of an unexpected type counts as absent."""
    try:
        return _decode(data)
    except msgspec.ValidationError:
        return _read_loosely(data)
    except (msgspec.DecodeError, RecursionError):
        return None


def _read_loosely(data: bytes) -> Answer | None:
    try:
        fields = _loose(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    answer = Answer()
    if isinstance(fields.get("id"), str | int):
        answer.id = str(fields["id"])
    if "choices" in fields:
        answer.choices = msgspec.Raw(msgspec.json.encode(fields["choices"]))
    if fields.get("error") is not None:
        answer.error = msgspec.Raw(msgspec.json.encode(fields["error"]))
    usage = fields.get("usage")
    if isinstance(usage, dict):
        numbers = {name: value for name, value in usage.items() if isinstance(value, int | float)}
        answer.usage = msgspec.convert(numbers, WireUsage)
    return answer


def usage_in_tail(tail: bytes) -> Usage | None:
    """The last ``usage`` object in the end of a long answer that was not kept whole."""
    found = None
    for match in _TAIL.finditer(tail):
        try:
            found = _wire(match.group(1)).tokens()
        except msgspec.DecodeError:
            continue
    return found
