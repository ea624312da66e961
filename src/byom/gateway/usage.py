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


MAX_TOKENS = 10**12
"""More than that no call can use: a server that says so, or says less than nothing, is not believed."""


class WireUsage(msgspec.Struct, gc=False):
    """Chat, completions and embeddings say ``prompt_tokens``, the responses and messages routes ``input_tokens``.

    Cached tokens are a part of the prompt everywhere but on the messages route (Anthropic's), whose two counts of cache
    tokens come on top of ``input_tokens``.
    """

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    total_tokens: int | float | None = None
    input_tokens: int | float | None = None
    output_tokens: int | float | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cache_read_input_tokens: int | float | None = None
    cache_creation_input_tokens: int | float | None = None
    prompt_cache_hit_tokens: int | float | None = None
    estimated: bool = False
    """Said by hosts of user code, whose code does not always count."""

    def tokens(self) -> Usage:
        prompt = int(self.prompt_tokens or self.input_tokens or 0)
        completion = int(self.completion_tokens or self.output_tokens or 0)
        if not prompt and not completion:
            prompt = int(self.total_tokens or 0)
        if not 0 <= prompt <= MAX_TOKENS or not 0 <= completion <= MAX_TOKENS:
            return Usage(estimated=True)
        usage = Usage(prompt_tokens=prompt, completion_tokens=completion, estimated=self.estimated)
        before = self.prompt_tokens_details or self.input_tokens_details
        if before is not None:
            usage.cached_tokens = _part(before.cached_tokens, prompt)
            usage.cache_write_tokens = _part(before.cache_write_tokens, prompt)
            usage.audio_prompt_tokens = _part(before.audio_tokens, prompt)
        elif self.prompt_tokens is None:
            self._add_cache(usage)
        elif self.prompt_cache_hit_tokens is not None:
            usage.cached_tokens = _part(self.prompt_cache_hit_tokens, prompt)
        after = self.completion_tokens_details or self.output_tokens_details
        if after is not None:
            usage.reasoning_tokens = _part(after.reasoning_tokens, MAX_TOKENS)
            usage.audio_completion_tokens = _part(after.audio_tokens, completion)
            if usage.reasoning_tokens and self.total_tokens == prompt + completion + usage.reasoning_tokens:
                # xAI's: reasoning is not in the completion, though it is paid like it.
                usage.completion_tokens += usage.reasoning_tokens
        return usage

    def _add_cache(self, usage: Usage) -> None:
        usage.cached_tokens = _part(self.cache_read_input_tokens, MAX_TOKENS)
        usage.cache_write_tokens = _part(self.cache_creation_input_tokens, MAX_TOKENS)
        usage.prompt_tokens += usage.cached_tokens + usage.cache_write_tokens


def _part(said: float | None, whole: int) -> int:
    return 0 if not said else max(0, min(int(said), whole))


class _Nested(msgspec.Struct, gc=False):
    """The ``response`` of an event of the responses route, the ``message`` of one of the messages route."""

    id: str | None = None
    usage: WireUsage | None = None


class Answer(msgspec.Struct, gc=False):
    """An answer, or one event of a stream."""

    id: str | None = None
    choices: msgspec.Raw = msgspec.Raw()
    usage: WireUsage | None = None
    error: msgspec.Raw = msgspec.Raw()
    response: _Nested | None = None
    message: _Nested | None = None

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
        numbers = {
            name: value for name, value in usage.items() if isinstance(value, int | float) and name != "estimated"
        }
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
