"""The Responses API's form: whole answers and stream events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from byom.testing.behavior import Behavior
from byom.testing.chat_wire import StreamEvent
from byom.testing.script import Script


@dataclass(frozen=True, slots=True)
class ResponsesWire:
    """Writes the answer to one request to ``/responses``."""

    behavior: Behavior
    script: Script
    request: dict[str, Any]
    number: int

    def body(self, status: str = "completed") -> dict[str, Any]:
        finished = status != "in_progress"
        if finished and self.script.finish_reason == "length":
            status = "incomplete"
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_fake_{self.number}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": status,
            "error": None,
            "incomplete_details": reason,
            "instructions": self.request.get("instructions"),
            "max_output_tokens": self.request.get("max_output_tokens"),
            "model": self.request.get("model") or "fake-model",
            "output": [self._item(finished)] if finished else [],
            "parallel_tool_calls": True,
            "previous_response_id": self.request.get("previous_response_id"),
            "temperature": self.request.get("temperature"),
            "tool_choice": self.request.get("tool_choice") or "auto",
            "tools": self.request.get("tools") or [],
            "top_p": self.request.get("top_p"),
            "metadata": self.request.get("metadata") or {},
            "usage": self._usage() if finished and self.behavior.usage != "none" else None,
            **self.behavior.extra,
        }

    def _usage(self) -> dict[str, Any]:
        prompt, completion = self.script.prompt_tokens, self.script.completion_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": self.behavior.cached_tokens or 0},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": self.behavior.reasoning_tokens or 0},
            "total_tokens": prompt + completion,
        }

    def _item(self, finished: bool) -> dict[str, Any]:
        return {
            "id": f"msg_fake_{self.number}",
            "type": "message",
            "role": "assistant",
            "status": "completed" if finished else "in_progress",
            "content": [self._part(self.script.text)] if finished else [],
        }

    @staticmethod
    def _part(text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def events(self) -> Iterator[StreamEvent]:
        """The events from ``response.created`` to ``response.completed``, numbered in order."""
        for position, (name, fields, counted) in enumerate(self._steps()):
            yield StreamEvent({"type": name, "sequence_number": position, **fields}, name, counted)

    def _steps(self) -> Iterator[tuple[str, dict[str, Any], bool]]:
        where = {"item_id": f"msg_fake_{self.number}", "output_index": 0, "content_index": 0}
        opening = self.body("in_progress")
        yield "response.created", {"response": opening}, False
        yield "response.in_progress", {"response": opening}, False
        yield "response.output_item.added", {"output_index": 0, "item": self._item(finished=False)}, False
        yield "response.content_part.added", {**where, "part": self._part("")}, False
        for piece in self.script.pieces:
            yield "response.output_text.delta", {**where, "delta": piece, "logprobs": []}, True
        yield "response.output_text.done", {**where, "text": self.script.text, "logprobs": []}, False
        yield "response.content_part.done", {**where, "part": self._part(self.script.text)}, False
        yield "response.output_item.done", {"output_index": 0, "item": self._item(finished=True)}, False
        if not self.behavior.omit_finish:
            final = self.body()
            yield f"response.{final['status']}", {"response": final}, False
