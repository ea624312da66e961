"""A chat request and the events of its answer, as the object path passes them."""

from __future__ import annotations

from typing import Any

import msgspec

from byom.types.usage import Usage


class ChatRequest(msgspec.Struct, kw_only=True):
    """OpenAI's chat request. Fields that are not named here travel in ``extra`` and are sent as they are."""

    messages: list[dict[str, Any]]
    """``{"role": …, "content": …}`` in OpenAI's form; content may be a list of parts."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    seed: int | None = None
    n: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    extra: dict[str, Any] = {}


class ChatEvent(msgspec.Struct, kw_only=True):
    """A piece of an answer. All fields are optional; concatenating ``text`` of one ``index`` gives the answer."""

    index: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] | None = None
    """Deltas in OpenAI's form: ``index`` always, ``id`` and ``name`` first, ``arguments`` in pieces."""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    raw: dict[str, Any] | None = None
    """The chunk as the server sent it, where there was one."""
