"""The bodies of calls to the gateway, from what a caller wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byom.errors import BadRequest

Message = Mapping[str, Any]
Prompt = str | Message | Sequence[Message]


def messages_of(prompt: Prompt, system: str | None = None) -> list[dict[str, Any]]:
    """OpenAI's messages from a text, one message or several. Raises `BadRequest` for anything else."""
    if isinstance(prompt, str):
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    else:
        given: Sequence[Any] = [prompt] if isinstance(prompt, Mapping) else list(prompt)
        if not all(isinstance(message, Mapping) for message in given):
            raise BadRequest("A prompt is a text, or a list of messages such as {'role': 'user', 'content': '…'}.")
        messages = [dict(message) for message in given]
    return ([{"role": "system", "content": system}] if system else []) + messages


def chat_body(
    model: str, prompt: Prompt, system: str | None, params: Mapping[str, Any], *, stream: bool
) -> dict[str, Any]:
    """Every parameter is sent under its own name; ``None`` leaves it out."""
    return _body(model, {"messages": messages_of(prompt, system)}, params, stream=stream)


def completion_body(model: str, prompt: str | list[str], params: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    return _body(model, {"prompt": prompt}, params, stream=stream)


def _body(model: str, fields: dict[str, Any], params: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    body = {"model": model} | fields | {name: value for name, value in params.items() if value is not None}
    if stream:
        body = body | {"stream": True, "stream_options": {"include_usage": True} | (params.get("stream_options") or {})}
    return body


def texts_of(texts: str | Sequence[str]) -> list[str]:
    """One text or several. Raises `BadRequest` for anything else."""
    found = [texts] if isinstance(texts, str) else list(texts)
    if not all(isinstance(text, str) for text in found):
        raise BadRequest("What is embedded or ranked are texts: a string or a list of strings.")
    return found
