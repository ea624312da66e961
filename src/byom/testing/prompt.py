"""The text of a request: what an answer echoes and what prompt tokens are counted over."""

from __future__ import annotations

from typing import Any


def prompt_text(request: dict[str, Any]) -> str:
    """The last user message, the prompt or the input of a request, as plain text."""
    messages = request.get("messages")
    if isinstance(messages, list):
        return _last_user(messages)
    given = request.get("prompt", request.get("input", request.get("query", "")))
    if isinstance(given, list) and given and isinstance(given[0], dict):
        return _last_user(given)
    return _content(given)


def _last_user(messages: list[Any]) -> str:
    texts = [
        _content(message.get("content"))
        for message in messages
        if isinstance(message, dict) and message.get("role", "user") == "user"
    ]
    return texts[-1] if texts else ""


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(part if isinstance(part, str) else _part_text(part) for part in content)
    return ""


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""
