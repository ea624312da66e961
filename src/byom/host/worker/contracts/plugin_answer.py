"""Answers of plugin code as events, whatever shape they come in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..contract import CallError, Event
from .plugin_foreign import foreign_answer, parsed_object
from .plugin_plain import as_count, as_mapping, as_text

FINISH = {
    "stop": "stop", "end_turn": "stop", "eos": "stop", "stop_sequence": "stop", "completed": "stop", "done": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length", "incomplete": "length",
    "tool_calls": "tool_calls", "tool_use": "tool_calls", "tool_call": "tool_calls", "function_call": "tool_calls",
    "content_filter": "content_filter", "safety": "content_filter", "refusal": "content_filter",
}  # fmt: skip
COUNTS = (
    ("promptTokens", "prompt_tokens"),
    ("completionTokens", "completion_tokens"),
    ("cacheReadInputTokens", "cached_tokens"),
    ("cacheWriteInputTokens", "cache_write_tokens"),
    ("reasoningTokens", "reasoning_tokens"),
)


class Answer:
    """One answer, translated as it comes: `piece` for each item of a stream or `whole` for a result, then `end`."""

    def __init__(self) -> None:
        self._texts = False
        self._calls = 0
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}

    def piece(self, item: Any) -> list[Event]:
        """``item``: ``{"chunk": …}``, ``{"footer": …}``, a bare chunk, text, or an object with these fields."""
        if item is None:
            return []
        if isinstance(item, (str, bytes)):
            return self._text(as_text(item))
        fields = as_mapping(item)
        if fields is None:
            raise CallError(
                f"the plugin's stream gave a {type(item).__name__}: it has to yield {{'chunk': …}} or {{'footer': …}}"
            )
        if "chunk" in fields or "footer" in fields:
            events = self._chunk(fields.get("chunk"))
            return events + self._footer(fields.get("footer"))
        if foreign_answer(fields) is not None:
            return self.whole(fields)
        return self._chunk(fields) + self._measured(fields)

    def whole(self, result: Any) -> list[Event]:
        """``result``: text, ``{"text": …}``, or an answer object of a vendor's SDK, also as its JSON text."""
        if isinstance(result, (str, bytes)):
            fields = parsed_object(as_text(result))
            if fields is None or foreign_answer(fields) is None:
                return self._text(as_text(result))
        else:
            found = as_mapping(result)
            if found is None:
                raise CallError(f"the plugin's answer is a {type(result).__name__}: return {{'text': …}}")
            fields = found
        fields = foreign_answer(fields) or fields
        if not any(name in fields for name in ("text", "toolCalls", "reasoning")):
            error = fields.get("errorMessage") or fields.get("error")
            if error or fields.get("ok") is False:
                raise CallError(f"the plugin's answer is an error: {as_text(error)[:500]}")
            raise CallError(
                "the plugin's answer has neither 'text' nor 'toolCalls', but "
                + (", ".join(map(str, fields)) or "nothing")
            )
        return self._chunk(fields) + self._measured(fields)

    def end(self) -> list[Event]:
        """The last event: why it ended, and what was used."""
        # Callers look here for whether there are tools to call; plugins often say "stop" either way.
        finish = "tool_calls" if self._calls and self._finish in (None, "stop") else self._finish or "stop"
        event: Event = {"finish_reason": finish}
        if self._usage:
            event["usage"] = self._usage
        return [event]

    def _text(self, text: str) -> list[Event]:
        if not text:
            return []
        self._texts = True
        return [{"text": text}]

    def _chunk(self, chunk: Any) -> list[Event]:
        if chunk is None:
            return []
        if isinstance(chunk, (str, bytes)):
            return self._text(as_text(chunk))
        fields = as_mapping(chunk)
        if fields is None or fields.get("type") == "event":  # progress of an agent: no part of the answer
            return []
        events = []
        if fields.get("reasoning"):
            events.append({"reasoning": as_text(fields["reasoning"])})
        events += self._text(as_text(fields.get("text")))
        return events + self._tool_calls(fields.get("toolCalls"))

    def _footer(self, footer: Any) -> list[Event]:
        fields = as_mapping(footer)
        if fields is None:
            return []
        events = self._measured(fields)
        if not self._texts:
            events += self._text(as_text(fields.get("text")))
        if not self._calls:
            events += self._tool_calls(fields.get("toolCalls"))
        return events

    def _measured(self, fields: Mapping[str, Any]) -> list[Event]:
        finish = fields.get("finishReason")
        if finish:
            self._finish = FINISH.get(str(finish).lower(), "stop")
        self._usage.update(usage_of(fields))
        return []

    def _tool_calls(self, calls: Any) -> list[Event]:
        found = []
        for call in calls or ():
            fields = as_mapping(call)
            if fields is None:
                continue
            function = as_mapping(fields.get("function")) or fields
            index = fields.get("index")
            delta: dict[str, Any] = {"index": self._calls if index is None else int(index)}
            if fields.get("id") or index is None:
                delta["id"] = str(fields.get("id") or f"call_{delta['index']}")
                delta["type"] = "function"
            arguments = function.get("arguments")
            if index is None and arguments is None:
                arguments = {}
            shown = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
            delta["function"] = {"arguments": shown}
            if function.get("name"):
                delta["function"]["name"] = str(function["name"])
            self._calls = max(self._calls, delta["index"] + 1)
            found.append(delta)
        return [{"tool_calls": found}] if found else []


def usage_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens and cost of an answer's own fields, or of its ``totalUsage``. What is not told is left out; ``cost`` is
    in dollars, as decimal text."""
    total = as_mapping(fields.get("totalUsage")) or {}
    found: dict[str, Any] = {}
    for theirs, ours in COUNTS:
        count = as_count(fields.get(theirs))
        count = as_count(total.get(theirs)) if count is None else count
        if count is not None:
            found[ours] = count
    both = as_count(fields.get("totalTokens", total.get("totalTokens")))
    if both is not None and "prompt_tokens" in found and "completion_tokens" not in found:
        found["completion_tokens"] = max(0, both - found["prompt_tokens"])
    if fields.get("tokenCountsAreEstimated") or total.get("tokenCountsAreEstimated"):
        found["estimated"] = True
    cost = fields.get("estimatedCost", total.get("estimatedCost"))
    if isinstance(cost, (int, float)) and not isinstance(cost, bool) and cost >= 0:
        found["cost"] = f"{cost:.12f}".rstrip("0").rstrip(".")
    return found
