"""AgentStudio's messages to OpenAI's, and back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from byom.errors import BadRequest
from byom.models.agentstudio.files import ImageFolder
from byom.models.agentstudio.images import pixels_of
from byom.models.agentstudio.messages import FileContent, Message
from byom.models.agentstudio.pixels import Pixels, data_uri, png
from byom.types.usage import Usage

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "user"}


# --- from AgentStudio


def chat_messages(messages: Sequence[Message], folder: ImageFolder) -> list[dict[str, Any]]:
    """Messages in OpenAI's form: those of one role, one after the other, become one message with parts.

    Raises `WireError` for paths, unless ``folder`` allows them. Makes PNG of arrays, so call it in a thread.
    """
    written: dict[int, str] = {}
    result = []
    for role, run in itertools.groupby(messages, key=lambda message: message.role):
        parts = [_part(message.content, folder, written) for message in run]
        alone = len(parts) == 1 and parts[0]["type"] == "text"
        result.append({"role": role, "content": parts[0]["text"] if alone else parts})
    return result


def _part(content: str | Pixels | FileContent, folder: ImageFolder, written: dict[int, str]) -> dict[str, Any]:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    if isinstance(content, FileContent):
        return _image(data_uri(*folder.read(content.path)))
    # An agent that shows one screenshot several times sends one array: it is written once.
    if id(content) not in written:
        written[id(content)] = data_uri("image/png", png(content))
    return _image(written[id(content)])


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def token_counts(usage: Mapping[str, Any] | None) -> dict[str, int]:
    """The counts of an OpenAI answer that are known."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = ((name, _count(usage, name)) for name in names) if usage else ()
    return {name: count for name, count in counts if count is not None}


# --- to AgentStudio


def agent_messages(messages: Iterable[Mapping[str, Any]]) -> list[Message]:
    """OpenAI's messages, each part one message. Raises `BadRequest` for what AgentStudio has no form for.

    Decodes images, so call it in a thread.
    """
    return [made for place, message in enumerate(messages) for made in _split(message, f"messages[{place}]")]


def _split(message: Mapping[str, Any], place: str) -> list[Message]:
    role = _ROLES.get(message.get("role", ""))
    if role is None:
        raise BadRequest(f"AgentStudio has no role {message.get('role')!r}.", param=f"{place}.role")
    if message.get("tool_calls"):
        raise BadRequest("AgentStudio has no tool calls.", param=f"{place}.tool_calls", code="unsupported_content")
    content = message.get("content")
    if isinstance(content, str):
        return [Message(role, content)]
    if not isinstance(content, list):
        raise BadRequest("A message's content must be text or a list of parts.", param=f"{place}.content")
    return [Message(role, _content(part, f"{place}.content[{at}]")) for at, part in enumerate(content)]


def _content(part: Any, place: str) -> str | Pixels:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "image_url":
        image = part.get("image_url")
        return pixels_of(image.get("url") if isinstance(image, Mapping) else image, place)
    raise BadRequest(f"AgentStudio takes text and images, not {kind!r} parts.", param=place, code="unsupported_content")


def usage_of(info: Mapping[str, Any], estimate: Usage) -> Usage:
    """The counts of a reply; the estimate where it lacks one. A total alone is that of the prompt (Gemini's)."""
    prompt, completion = _count(info, "prompt_tokens"), _count(info, "completion_tokens")
    if prompt is not None and completion is not None:
        return Usage(prompt_tokens=prompt, completion_tokens=completion)
    known = prompt if prompt is not None else _count(info, "total_tokens")
    return Usage(
        prompt_tokens=estimate.prompt_tokens if known is None else known,
        completion_tokens=estimate.completion_tokens if completion is None else completion,
        estimated=True,
    )


def _count(info: Mapping[str, Any], name: str) -> int | None:
    value = info.get(name)
    return value if type(value) is int and 0 <= value < 2**53 else None
