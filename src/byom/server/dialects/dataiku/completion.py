"""A completion of OpenAI's form as a response of the dialect, whole or in pieces."""

from __future__ import annotations

import json
import re
from typing import Any

from byom.server.dialects.dataiku.failure import Failure

_FENCED = re.compile(r"\A\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


def read(data: dict[str, Any], *, json_wanted: bool) -> dict[str, Any]:
    """Text, tool calls, finish reason, log probabilities of an answer. Raises `Failure` where it is no completion."""
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise Failure(
            "The model's server answered no completion.", status=502, code="upstream_protocol", kind="upstream_error"
        )
    found: dict[str, Any] = {"ok": True}
    text = text_of(message.get("content")) or text_of(message.get("refusal"))
    calls = tool_calls(message.get("tool_calls"))
    if text or not calls:
        found["text"] = _plain_json(text) if json_wanted else text
    if calls:
        found["toolCalls"] = calls
    found["finishReason"] = str(choice.get("finish_reason") or "stop")
    probabilities = log_probs(choice)
    if probabilities:
        found["logProbs"] = probabilities
    reasoning = reasoning_of(message)
    if reasoning:
        found["additionalInformation"] = {"reasoning": reasoning}
    return found


def text_of(content: Any) -> str:
    """Content is text, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return ""


def reasoning_of(message: dict[str, Any]) -> str:
    return text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))


def tool_calls(calls: Any, *, pieces: bool = False) -> list[dict[str, Any]]:
    """Tool calls; ``pieces``: deltas, whose ``index`` is kept and which have what is new in them only."""
    found = []
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, dict):
            continue
        said = call.get("function")
        function = {name: value for name, value in said.items() if value is not None} if isinstance(said, dict) else {}
        one: dict[str, Any] = {"type": "function", "function": function}
        if call.get("id"):
            one["id"] = call["id"]
        if pieces:
            one["index"] = call.get("index") or 0
        else:
            function.setdefault("arguments", "{}")
        found.append(one)
    return found


def log_probs(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """One item a token, as OpenAI has it: ``token``, ``logprob``, ``top_logprobs``."""
    said = choice.get("logprobs")
    content = said.get("content") if isinstance(said, dict) else None
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []


def _plain_json(text: str) -> str:
    """Without the code fence that some models put around JSON, for the client reads the whole text as JSON."""
    match = _FENCED.match(text)
    if match is None:
        return text
    try:
        json.loads(match[1])
    except ValueError:
        return text
    return match[1]
