"""From the events of an answer to the whole answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from byom.models.streams import closing
from byom.types.chat import ChatEvent
from byom.types.usage import Usage


class ChatChoice(msgspec.Struct, kw_only=True):
    """One of ``n`` answers."""

    index: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = []
    """Whole calls: ``{"id", "type", "function": {"name", "arguments"}}``."""
    finish_reason: str | None = None
    logprobs: list[dict[str, Any]] | None = None
    """Per token, as the server sent them; ``None`` where it sent none."""


class ChatAnswer(msgspec.Struct, kw_only=True):
    """A whole answer. `text`, `tool_calls` and `finish_reason` are those of the first choice."""

    choices: list[ChatChoice]
    """In the order of their index; never empty."""
    usage: Usage | None = None
    model: str | None = None

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def reasoning(self) -> str:
        return self.choices[0].reasoning

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason


class _Choice:
    """One choice while it grows; texts are joined once, at the end."""

    def __init__(self, index: int) -> None:
        self._done = ChatChoice(index=index, tool_calls=[])
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, event: ChatEvent) -> None:
        self._text.append(event.text)
        self._reasoning.append(event.reasoning)
        for delta in event.tool_calls or ():
            self._add_call(delta)
        self._done.finish_reason = event.finish_reason or self._done.finish_reason
        tokens = _logprobs(event)
        if tokens is not None:
            self._done.logprobs = (self._done.logprobs or []) + tokens

    def _add_call(self, delta: dict[str, Any]) -> None:
        index = delta.get("index", 0)
        call = self._calls.setdefault(index, {"id": None, "type": "function", "function": {"name": ""}})
        function = delta.get("function") or {}
        for name, value in delta.items():
            if name not in ("index", "function") and value is not None:
                call[name] = value
        for name, value in function.items():
            if name == "arguments":
                self._arguments.setdefault(index, []).append(value or "")
            elif value is not None:
                call["function"][name] = value

    def whole(self) -> ChatChoice:
        for index in sorted(self._calls):
            call = self._calls[index]
            call["function"]["arguments"] = "".join(self._arguments.get(index, ()))
            self._done.tool_calls.append(call)
        self._done.text = "".join(self._text)
        self._done.reasoning = "".join(self._reasoning)
        return self._done


def _logprobs(event: ChatEvent) -> list[dict[str, Any]] | None:
    for choice in (event.raw or {}).get("choices") or ():
        if choice.get("index", 0) == event.index:
            content = (choice.get("logprobs") or {}).get("content")
            return list(content) if isinstance(content, list) else None
    return None


async def collect(events: AsyncIterator[ChatEvent]) -> ChatAnswer:
    """Read to the end. Tool-call pieces are joined by their index; the stream is closed when reading it fails."""
    choices: dict[int, _Choice] = {}
    answer = ChatAnswer(choices=[])
    async with closing(events) as open_events:
        async for event in open_events:
            choices.setdefault(event.index, _Choice(event.index)).add(event)
            answer.usage = event.usage or answer.usage
            answer.model = event.model or answer.model
    answer.choices = [choices[index].whole() for index in sorted(choices)] or [ChatChoice()]
    return answer
