"""OpenAI's messages as user code takes them: as one prompt, or as AgentStudio's intermediate messages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..contract import CallError
from . import images

_ROLES = {"developer": "system", "function": "user", "tool": "user"}


class Message(dict[str, Any]):
    """An intermediate message: ``message["role"]`` and ``message.role`` are the same, as all eras of code read it."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a message has a role and a content, and no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def prompt_of(messages: Sequence[dict[str, Any]]) -> str:
    """The texts of all messages: a single message as it is, several with their roles.

    Raises `CallError` for parts that are not text.
    """
    texts = [
        (str(message.get("role") or "user"), "".join(_texts(message, index))) for index, message in enumerate(messages)
    ]
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in texts)


def intermediate(messages: Sequence[dict[str, Any]]) -> list[Message]:
    """One message for each content part, in order: text as ``str``, images as RGB arrays.

    ``developer`` becomes ``system``, the result of a tool becomes text of the ``user``. Raises `CallError` for parts
    that are neither text nor image.
    """
    made: list[Message] = []
    for index, message in enumerate(messages):
        role = str(message.get("role") or "user")
        role = _ROLES.get(role, role)
        made += [Message(role=role, content=content) for content in _contents(message, index)]
    return made


def openai_messages(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """The way back: runs of one role become one message, images become data URIs. Raises `ValueError`."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role, content = _read(message, "role"), _read(message, "content")
        if not merged or merged[-1]["role"] != role:
            merged.append({"role": role, "content": []})
        merged[-1]["content"].append(_part(content))
    for message in merged:
        parts = message["content"]
        if all(part["type"] == "text" for part in parts):
            message["content"] = "\n".join(part["text"] for part in parts)
    return merged


def _contents(message: dict[str, Any], index: int) -> list[Any]:
    content = message.get("content")
    found: list[Any] = []
    if isinstance(content, list):
        for place, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "image_url":
                found.append(_image(part, f"messages[{index}].content[{place}]"))
            else:
                found.append(_text_of_part(part, index, place, "text and images"))
    elif content is not None:
        found.append(str(content))
    found += [_call_text(call) for call in message.get("tool_calls") or ()]
    return found


def _texts(message: dict[str, Any], index: int) -> list[str]:
    content = message.get("content")
    if isinstance(content, list):
        return [_text_of_part(part, index, place, "text only") for place, part in enumerate(content)]
    calls = [_call_text(call) for call in message.get("tool_calls") or ()]
    return ([] if content is None else [str(content)]) + calls


def _text_of_part(part: Any, index: int, place: int, reads: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        text = part.get("refusal") if part.get("type") == "refusal" else part.get("text")
        if part.get("type", "text") in ("text", "refusal", "input_text", "output_text") and isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise CallError(
        f"This model reads {reads}, and messages[{index}].content[{place}] is of type {kind!r}.",
        status=400,
        code="unsupported_content",
    )


def _call_text(call: Any) -> str:
    """A tool that the model called: code without tools can still read what happened."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ""
    return f"{function.get('name', '')}({function.get('arguments', '')})"


def _image(part: dict[str, Any], where: str) -> Any:
    source = part.get("image_url")
    url = source.get("url") if isinstance(source, dict) else source
    return images.rgb_array(url, where)


def _read(message: Any, name: str) -> Any:
    return message[name] if isinstance(message, dict) else getattr(message, name)


def _part(content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    if isinstance(content, os.PathLike):
        return {"type": "image_url", "image_url": {"url": images.data_uri_of_file(content)}}
    if hasattr(content, "__array_interface__"):
        return {"type": "image_url", "image_url": {"url": images.data_uri_of_array(content)}}
    raise ValueError(f"a message's content is text or an image, not {type(content).__name__}")
