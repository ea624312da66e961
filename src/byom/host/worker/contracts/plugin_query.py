"""OpenAI's requests in the form that plugin code reads: a query and its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..contract import CallError

SETTINGS = (
    ("temperature", "temperature"),
    ("max_tokens", "maxOutputTokens"),
    ("max_completion_tokens", "maxOutputTokens"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("frequency_penalty", "frequencyPenalty"),
    ("presence_penalty", "presencePenalty"),
    ("logit_bias", "logitBias"),
    ("logprobs", "logProbs"),
    ("top_logprobs", "topLogProbs"),
    ("seed", "seed"),
    ("reasoning_effort", "reasoningEffort"),
)
ROLES = {"developer": "system", "function": "tool"}
_DATA_URI = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)


def chat_query(request: Mapping[str, Any]) -> dict[str, Any]:
    """``{"messages": […]}``, and ``context`` where the request has one. Raises `CallError` (400) for content of a kind
    that the form has no place for."""
    query: dict[str, Any] = {"messages": [_message(one) for one in request.get("messages") or ()]}
    if isinstance(request.get("context"), Mapping):
        query["context"] = dict(request["context"])
    return query


def chat_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """What the request sets, under the names of the form; what it leaves open is left out."""
    settings = {theirs: request[ours] for ours, theirs in SETTINGS if request.get(ours) is not None}
    stop = request.get("stop")
    if stop:
        settings["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    if request.get("tools"):
        settings["tools"] = [
            {"type": "function", "function": dict(tool["function"])}
            for tool in request["tools"]
            if isinstance(tool.get("function"), Mapping)
        ]
    choice = _tool_choice(request.get("tool_choice"))
    if choice is not None:
        settings["toolChoice"] = choice
    answer_format = _response_format(request.get("response_format"))
    if answer_format is not None:
        settings["responseFormat"] = answer_format
    return settings


def embedding_query(texts: Sequence[str]) -> dict[str, Any]:
    """``{"queries": [{"text": …}, …]}``; one text alone is also where older plugins look for it."""
    query: dict[str, Any] = {"queries": [{"text": text} for text in texts]}
    if len(texts) == 1:
        query["text"] = texts[0]
    return query


def embedding_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {"textOverflowMode": options.get("text_overflow") or "FAIL"}
    if options.get("dimensions") is not None:
        settings["dimensions"] = options["dimensions"]
    return settings


def reranking_query(query: str, documents: Sequence[str]) -> dict[str, Any]:
    return {
        "queryParts": [{"type": "TEXT", "text": query}],
        "documents": [{"parts": [{"type": "TEXT", "text": text}]} for text in documents],
    }


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = str(message.get("role") or "user")
    role = ROLES.get(role, role)
    content = message.get("content")
    if role == "tool":
        return {"role": "tool", "toolOutputs": [{"callId": message.get("tool_call_id"), "output": _text(content)}]}
    found: dict[str, Any] = {"role": role}
    calls = message.get("tool_calls")
    if calls:
        found["toolCalls"] = [_tool_call(call) for call in calls]
    if isinstance(content, str):
        found["content"] = content
    elif content is not None:
        parts = [_part(part) for part in content]
        if all(part["type"] == "TEXT" for part in parts):
            found["content"] = "\n".join(part["text"] for part in parts)
        else:
            found["parts"] = parts
    elif not calls:
        found["content"] = ""
    return found


def _text(content: Any) -> str:
    """A tool's output; pictures in it have no place in the form."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [_part(part) for part in content]
    return "\n".join(part["text"] for part in parts if part["type"] == "TEXT")


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("text", "input_text", "refusal"):
        return {"type": "TEXT", "text": str(part.get("text") or part.get("refusal") or "")}
    if kind in ("image_url", "input_image"):
        image = part.get("image_url")
        url = str(image.get("url") if isinstance(image, Mapping) else image or "")
        inline = _DATA_URI.fullmatch(url)
        if inline:
            return {"type": "IMAGE_INLINE", "inlineImage": inline["data"], "imageMimeType": inline["type"]}
        return {"type": "IMAGE_URI", "imageUrl": url}
    raise CallError(
        f"a plugin's model takes text and images, and this message has a part of type {kind!r}",
        status=400,
        code="unsupported_content",
    )


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    return {
        "type": "function",
        "id": call.get("id"),
        "function": {"name": function.get("name"), "arguments": function.get("arguments") or "{}"},
    }


def _tool_choice(choice: Any) -> dict[str, Any] | None:
    if isinstance(choice, str):
        return {"type": choice}
    if isinstance(choice, Mapping):
        name = (choice.get("function") or {}).get("name") or choice.get("name")
        return {"type": "tool_name", "name": name} if name else {"type": choice.get("type", "auto")}
    return None


def _response_format(wanted: Any) -> dict[str, Any] | None:
    if not isinstance(wanted, Mapping):
        return None
    if wanted.get("type") == "json_object":
        return {"type": "json"}
    if wanted.get("type") == "json_schema":
        given = wanted.get("json_schema") or {}
        return {"type": "json", "schema": given.get("schema"), "strict": bool(given.get("strict"))}
    return None
