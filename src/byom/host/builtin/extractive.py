"""The chat model ``extractive``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from byom.errors import BadRequest
from byom.host.builtin.extract import extract
from byom.host.builtin.tokens import count_tokens, first_tokens, pieces
from byom.host.builtin.work import Check, Workers
from byom.host.messages import content_text
from byom.host.schema_instance import UnsupportedSchema, schema_instance
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.model_info import ModelInfo
from byom.types.usage import Price, Usage

MAX_CHOICES = 16


class ExtractiveModel:
    """Answers with the most central sentences of the user's messages.

    The same request always has the same answer: temperature, seed and the like are accepted and change nothing,
    and the choices of ``n`` are equal. System and assistant messages are counted but not extracted from.
    Raises `BadRequest` for what it cannot do: tool calls that are required, log probabilities, images, and
    JSON schemas beyond `schema_instance`.
    """

    def __init__(self, workers: Workers, name: str = "extractive") -> None:
        self.info = ModelInfo(
            name=name,
            abilities=frozenset({"chat", "generate", "json"}),
            price=Price(input=0, output=0, source="local"),
            details={"description": "Answers with the most central sentences of what it is given."},
        )
        self._workers = workers

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Word by word; the last event has the usage. Work in progress stops when the caller goes away."""
        choices = _checked_choices(request)
        answer = await self._workers.run(lambda check: _answer(request, check))
        for piece in answer.pieces():
            for index in range(choices):
                yield ChatEvent(index=index, text=piece)
        for index in range(choices):
            yield ChatEvent(index=index, finish_reason=answer.finish_reason)
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens * choices)
        yield ChatEvent(usage=usage, model=self.info.name)

    async def aclose(self) -> None:
        """Nothing to give back: the threads belong to the host."""


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    finish_reason: str
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        return count_tokens(self.text)

    def pieces(self) -> Iterator[str]:
        return pieces(self.text)


def _checked_choices(request: ChatRequest) -> int:
    if request.tool_choice not in (None, "none", "auto"):
        raise BadRequest("This model cannot call tools: leave out tool_choice or set it to auto.", param="tool_choice")
    if request.extra.get("logprobs") not in (None, False):
        raise BadRequest("This model has no log probabilities: leave out logprobs.", param="logprobs")
    choices = 1 if request.n is None else request.n
    if not 1 <= choices <= MAX_CHOICES:
        raise BadRequest(f"n must be between 1 and {MAX_CHOICES}.", param="n")
    return choices


def _answer(request: ChatRequest, check: Check) -> _Answer:
    prompt_tokens = 0
    said: list[str] = []
    for message in request.messages:
        check()
        text = content_text(message.get("content"))
        prompt_tokens += count_tokens(text, check)
        if message.get("role") == "user":
            said.append(text)
    text = _formed(request.response_format, said, check)
    text = _before_stop(text, request.stop or [])
    text, cut = first_tokens(text, request.max_tokens) if request.max_tokens is not None else (text, False)
    return _Answer(text, "length" if cut else "stop", prompt_tokens)


def _formed(response_format: dict[str, Any] | None, said: list[str], check: Check) -> str:
    found = extract(said, check)
    kind = (response_format or {"type": "text"}).get("type")
    if kind == "text":
        return found.text
    if kind == "json_object":
        return json.dumps({"answer": found.text}, ensure_ascii=False)
    if kind != "json_schema":
        raise BadRequest("response_format.type must be text, json_object or json_schema.", param="response_format")
    wanted = (response_format or {}).get("json_schema")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest("response_format.json_schema.schema must be an object.", param="response_format")
    try:
        value = schema_instance(schema, found.found or [found.text])
    except UnsupportedSchema as error:
        raise BadRequest(f"This model cannot satisfy the JSON schema: {error}.", param="response_format") from error
    return json.dumps(value, ensure_ascii=False)


def _before_stop(text: str, stops: list[str]) -> str:
    """The text before the first stop sequence."""
    return text[: min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=len(text))]
