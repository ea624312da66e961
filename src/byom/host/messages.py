"""The text of a message's content, which is text or a list of parts."""

from __future__ import annotations

from typing import Any

from byom.errors import BadRequest


def content_text(content: Any) -> str:
    """Text parts joined by line breaks. Raises `BadRequest` for parts that are not text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest("A message's content must be text or a list of parts.", param="messages")
    return "\n".join(_part_text(part) for part in content)


def _part_text(part: Any) -> str:
    if isinstance(part, dict):
        text = part.get("refusal") if part.get("type") == "refusal" else part.get("text")
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise BadRequest(f"This model reads text only, not {kind!r} parts.", param="messages", code="unsupported_content")
