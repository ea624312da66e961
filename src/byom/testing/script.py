"""The plan of one answer: which pieces, how it ends, what usage it claims."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from byom.host.schema_instance import UnsupportedSchema, schema_instance
from byom.testing.behavior import Behavior, ScriptedToolCall

_PIECE = re.compile(r"\s*\S+|\s+$")
_ECHO_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Script:
    """``pieces`` is the text, one piece a chunk; a piece counts as one token."""

    pieces: tuple[str, ...]
    tool_calls: tuple[ScriptedToolCall, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def write_script(behavior: Behavior, request: dict[str, Any], prompt: str) -> Script:
    """Decides what the answer to this request says."""
    calls = behavior.tool_calls or _demanded_call(request)
    pieces = () if calls else _pieces(behavior, request, prompt)
    reason = "tool_calls" if calls else "stop"
    limit = request.get("max_completion_tokens") or request.get("max_tokens") or request.get("max_output_tokens")
    if behavior.honor_max_tokens and isinstance(limit, int) and len(pieces) > limit:
        pieces, reason = pieces[:limit], "length"
    completion = behavior.completion_tokens
    if completion is None:
        completion = len(pieces) + sum(len(_split(call.arguments_text())) for call in calls)
        completion += behavior.reasoning_tokens or 0
    return Script(
        pieces=pieces,
        tool_calls=calls,
        finish_reason=behavior.finish_reason or reason,
        prompt_tokens=len(_split(prompt)) if behavior.prompt_tokens is None else behavior.prompt_tokens,
        completion_tokens=completion,
    )


def _pieces(behavior: Behavior, request: dict[str, Any], prompt: str) -> tuple[str, ...]:
    if behavior.tokens is not None:
        return behavior.tokens
    text = behavior.text
    if text is None and (schema := _asked_schema(request)) is not None:
        text = _instance_text(schema)
    if behavior.chunks is not None:
        return _exactly(behavior.chunks, text)
    return tuple(_split(f"echo: {prompt[-_ECHO_LIMIT:]}" if text is None else text))


def _exactly(count: int, text: str | None) -> tuple[str, ...]:
    if text is None:
        return tuple(f"w{number} " for number in range(count))
    if count == 0:
        return ()
    size, rest = divmod(len(text), count)
    cuts = [number * size + min(number, rest) for number in range(count + 1)]
    return tuple(text[start:end] for start, end in pairwise(cuts))


def _split(text: str) -> list[str]:
    """Words with the space before them; joined they are the text again."""
    return _PIECE.findall(text)


def _asked_schema(request: dict[str, Any]) -> dict[str, Any] | None:
    wanted = request.get("response_format") or (request.get("text") or {}).get("format")
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_schema", "json_object"):
        return None
    nested = wanted.get("json_schema")
    schema = nested.get("schema") if isinstance(nested, dict) else wanted.get("schema")
    return schema if isinstance(schema, dict) else {"type": "object"}


def _instance_text(schema: dict[str, Any]) -> str:
    try:
        return json.dumps(schema_instance(schema, ["scripted"]))
    except UnsupportedSchema:
        return "{}"


def _demanded_call(request: dict[str, Any]) -> tuple[ScriptedToolCall, ...]:
    """The call that ``tool_choice`` forces: a named function or, where one is required, the first."""
    choice, tools = request.get("tool_choice"), request.get("tools")
    functions = [tool["function"] for tool in tools or () if isinstance(tool, dict) and "function" in tool]
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        functions = [function for function in functions if function.get("name") == name]
    elif choice != "required":
        return ()
    if not functions:
        return ()
    schema = functions[0].get("parameters") or {"type": "object"}
    return (ScriptedToolCall(functions[0]["name"], _instance_text(schema)),)
