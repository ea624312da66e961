"""Makes an event stream out of a whole answer, for models whose server does not stream."""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.encode


def as_event_stream(body: bytes, *, wants_usage: bool, usage: dict[str, Any] | None = None) -> bytes | None:
    """The events of a chat or text completion, ``[DONE]`` included; ``None`` when it is neither.

    ``usage``: what its last chunk says where the answer has none.

    Each choice becomes a chunk with its whole text and one with its ``finish_reason``, as a server would send them.
    Fields that are not known here stay where they were.
    """
    answer: Any = msgspec.json.decode(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        return None
    if not all(isinstance(choice, dict) for choice in answer["choices"]):
        return None
    chat = any("message" in choice for choice in answer["choices"])
    common = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    common["object"] = "chat.completion.chunk" if chat else "text_completion"
    nothing = {"usage": None} if wants_usage else {}
    events = []
    for choice in answer["choices"]:
        parts = _chat_parts(choice) if chat else _text_parts(choice)
        events += [{**common, "choices": [part], **nothing} for part in parts]
    if wants_usage:
        said = answer.get("usage") or usage
        if said is not None:
            events.append({**common, "choices": [], "usage": said})
    return b"".join(b"data: " + _encode(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def _chat_parts(choice: dict[str, Any]) -> list[dict[str, Any]]:
    message = dict(choice.get("message") or {})
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
    rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
    index = choice.get("index", 0)
    return [
        {**rest, "delta": message, "finish_reason": None},
        {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"},
    ]


def _text_parts(choice: dict[str, Any]) -> list[dict[str, Any]]:
    index = choice.get("index", 0)
    return [
        {**choice, "finish_reason": None},
        {"index": index, "text": "", "logprobs": None, "finish_reason": choice.get("finish_reason") or "stop"},
    ]
