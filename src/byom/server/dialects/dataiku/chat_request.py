"""The body of a chat call: a query and the settings that go with it."""

from __future__ import annotations

from typing import Any

from byom.catalog.snapshot import Route
from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.messages import chat_messages
from byom.server.dialects.dataiku.request import mapping, objects

_PLAIN = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "stopSequences": "stop",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "logitBias": "logit_bias",
    "logProbs": "logprobs",
    "topLogProbs": "top_logprobs",
    "seed": "seed",
    "reasoningEffort": "reasoning_effort",
}
"""Settings that have a field with the same values."""


def chat_body(route: Route, query: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Raises `Failure` for what cannot be said to a model. Settings that are null are not set."""
    body: dict[str, Any] = {"model": route.name, "messages": chat_messages(query)}
    for name, field in _PLAIN.items():
        if settings.get(name) is not None:
            body[field] = settings[name]
    if not body.get("stop", True):
        del body["stop"]
    if "top_logprobs" in body and not body.get("logprobs"):
        del body["top_logprobs"]  # refused by servers where log probabilities are not asked for
    if settings.get("maxOutputTokens"):  # 0: no limit
        body["max_tokens"] = settings["maxOutputTokens"]
    if settings.get("tools"):
        body["tools"] = [_tool(tool) for tool in objects(settings["tools"], "tools")]
        if settings.get("toolChoice") is not None:
            body["tool_choice"] = _tool_choice(settings["toolChoice"])
    wanted = mapping(settings.get("responseFormat"), "responseFormat")
    if wanted:
        _add_format(body, wanted, route)
    return body


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = mapping(tool.get("function"), "function")
    if not function.get("name"):
        raise Failure("A tool has no 'function' with a 'name'.")
    # 'compatible' allows DSS to change the schema; models do not know it.
    kept = {name: value for name, value in function.items() if value is not None and name != "compatible"}
    return {"type": "function", "function": kept}


def _tool_choice(choice: Any) -> str | dict[str, Any]:
    kind = choice.get("type") if isinstance(choice, dict) else choice
    kind = kind.lower() if isinstance(kind, str) else kind
    if kind in ("auto", "none", "required"):
        return str(kind)
    if kind == "tool_name" and choice.get("name"):
        return {"type": "function", "function": {"name": choice["name"]}}
    raise Failure("'toolChoice' is none of auto, none, required, tool_name with a name.")


def _add_format(body: dict[str, Any], wanted: dict[str, Any], route: Route) -> None:
    kind = wanted.get("type")
    if kind == "text":
        return
    if kind != "json":
        raise Failure(f"'responseFormat' has the type {str(kind)[:50]!r}; 'json' is known.")
    if wanted.get("ifSupported") and "json" not in route.abilities:
        return
    schema = wanted.get("schema")
    if schema is None:
        body["response_format"] = {"type": "json_object"}
        return
    described: dict[str, Any] = {"name": "response", "schema": mapping(schema, "schema")}
    if wanted.get("strict") is not None:
        described["strict"] = wanted["strict"]
    body["response_format"] = {"type": "json_schema", "json_schema": described}
