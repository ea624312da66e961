"""Messages of a query as messages of OpenAI's chat."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from byom.server.dialects.dataiku.failure import Failure, not_served
from byom.server.dialects.dataiku.request import objects

_ROLES = frozenset({"system", "user", "assistant", "developer"})
_OF_AGENTS = frozenset({"memoryFragment", "toolValidationRequests", "toolValidationResponses"})
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


def chat_messages(query: dict[str, Any]) -> list[dict[str, Any]]:
    """Raises `Failure` for a message that has no counterpart."""
    found: list[dict[str, Any]] = []
    for message in objects(query.get("messages"), "messages"):
        for converted in _converted(message):
            _append(found, converted)
    if not found:
        raise Failure("The query has no messages.")
    return found


def _append(found: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """The client sends an assistant's text and its tool calls one after the other; to models they are one message."""
    last = found[-1] if found else {}
    if message.get("tool_calls") and not message.get("content"):
        if last.get("role") == "assistant" and not last.get("tool_calls"):
            last["tool_calls"] = message["tool_calls"]
            return
        message["content"] = None
    found.append(message)


def _converted(message: dict[str, Any]) -> Iterable[dict[str, Any]]:
    said = message.get("role")
    role = said if isinstance(said, str) else ""
    if role == "tool" or message.get("toolOutputs"):
        return _tool_messages(message)
    if role in _OF_AGENTS:
        raise not_served(f"A message has the role {role!r}, which only agents know.")
    if role not in _ROLES:
        raise Failure(f"A message has the role {str(said)[:50]!r}, not one of system, user, assistant, tool.")
    one: dict[str, Any] = {"role": role, "content": _content(message)}
    if message.get("toolCalls"):
        one["tool_calls"] = [_tool_call(call) for call in objects(message["toolCalls"], "toolCalls")]
    return (one,)


def _content(message: dict[str, Any]) -> str | list[dict[str, Any]]:
    if message.get("parts"):
        return [_part(part) for part in objects(message["parts"], "parts")]
    content = message.get("content")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise Failure("The content of a message is not text; images and texts go into 'parts'.")
    return content


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "TEXT":
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "IMAGE_INLINE":
        image = part.get("inlineImage")
        if not isinstance(image, str):
            raise Failure("A part of type IMAGE_INLINE has no 'inlineImage' in base64.")
        url = image if image.startswith("data:") else f"data:{part.get('imageMimeType') or _kind(image)};base64,{image}"
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "IMAGE_URI":
        return {"type": "image_url", "image_url": {"url": str(part.get("imageUrl") or "")}}
    raise Failure(f"A part of a message has the type {str(kind)[:50]!r}, not TEXT, IMAGE_INLINE or IMAGE_URI.")


def _kind(image: str) -> str:
    """The media type that the first bytes show."""
    try:
        head = base64.b64decode(image[:32])
    except (binascii.Error, ValueError) as error:
        raise Failure("An inline image is not valid base64.") from error
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), "image/png")


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Failure("A tool call has no 'function' with a 'name'.")
    arguments = function.get("arguments")
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments if isinstance(arguments, str) else "{}"},
    }


def _tool_messages(message: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """One message for each output. Images follow in a message of the user, for tools may only answer with text."""
    images: list[dict[str, Any]] = []
    for output in objects(message.get("toolOutputs"), "toolOutputs"):
        texts = [str(output["output"])] if output.get("output") else []
        for part in objects(output.get("parts") or [], "parts"):
            converted = _part(part)
            if converted["type"] == "text":
                texts.append(converted["text"])
            else:
                images.append(converted)
        yield {"role": "tool", "tool_call_id": str(output.get("callId") or ""), "content": "\n".join(texts)}
    if images:
        yield {"role": "user", "content": images}
