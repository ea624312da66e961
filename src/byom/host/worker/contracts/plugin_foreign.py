"""Answer objects of vendors' SDKs, which plugin code likes to hand over as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .plugin_plain import as_mapping, as_text


def parsed_object(text: str) -> Mapping[str, Any] | None:
    """JSON text of an object, where the text is one. Whether it is an answer is for `foreign_answer` to say."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def foreign_answer(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same answer with a plugin's fields; ``None`` for what is no answer of a known SDK."""
    if fields.get("object") == "response" and isinstance(fields.get("output"), list):
        return _responses(fields)
    if isinstance(fields.get("choices"), list) and str(fields.get("object", "chat.completion")).startswith(
        ("chat.completion", "text_completion")
    ):
        return _chat_completion(fields)
    if fields.get("type") == "message" and isinstance(fields.get("content"), list):
        return _message(fields)
    return None


def _responses(fields: Mapping[str, Any]) -> dict[str, Any]:
    texts, calls = [], []
    for item in fields["output"]:
        if item.get("type") == "message":
            texts += [as_text(part.get("text") or part.get("refusal")) for part in item.get("content") or ()]
        elif item.get("type") == "function_call":
            calls.append(_call(item.get("call_id") or item.get("id"), item.get("name"), item.get("arguments")))
    answer = _with_usage(fields, "input_tokens", "output_tokens")
    answer.update(text="".join(texts), finishReason="incomplete" if fields.get("status") == "incomplete" else None)
    return _with_calls(answer, calls)


def _chat_completion(fields: Mapping[str, Any]) -> dict[str, Any]:
    choice = fields["choices"][0] if fields["choices"] else {}
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    answer = _with_usage(fields, "prompt_tokens", "completion_tokens")
    answer.update(text=as_text(message.get("content")), finishReason=choice.get("finish_reason"))
    return _with_calls(answer, message.get("tool_calls") or [])


def _message(fields: Mapping[str, Any]) -> dict[str, Any]:
    texts = [as_text(part.get("text")) for part in fields["content"] if part.get("type") == "text"]
    calls = [
        _call(part.get("id"), part.get("name"), json.dumps(part.get("input") or {}))
        for part in fields["content"]
        if part.get("type") == "tool_use"
    ]
    answer = _with_usage(fields, "input_tokens", "output_tokens")
    answer.update(text="".join(texts), finishReason=fields.get("stop_reason"))
    return _with_calls(answer, calls)


def _call(identifier: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def _with_usage(fields: Mapping[str, Any], prompt: str, completion: str) -> dict[str, Any]:
    usage = as_mapping(fields.get("usage")) or {}
    return {"promptTokens": usage.get(prompt), "completionTokens": usage.get(completion)}


def _with_calls(answer: dict[str, Any], calls: list[Any]) -> dict[str, Any]:
    if calls:
        answer["toolCalls"] = calls
        answer["finishReason"] = answer.get("finishReason") or "tool_calls"
    return answer
