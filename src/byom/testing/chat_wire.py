"""Chat completions and completions in OpenAI's form: whole answers and stream events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from byom.testing.behavior import Behavior
from byom.testing.script import Script


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """``counted``: a piece of the answer, which ``cut_after_chunks`` and its like count; the others are frame."""

    payload: dict[str, Any]
    name: str | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class ChatWire:
    """Writes the answer to one chat (or legacy completion) request."""

    behavior: Behavior
    script: Script
    request: dict[str, Any]
    number: int
    legacy: bool = False

    @property
    def _choices(self) -> int:
        n = self.request.get("n")
        return n if isinstance(n, int) and n > 0 else 1

    def _envelope(self, stream: bool) -> dict[str, Any]:
        kind = "text_completion" if self.legacy else f"chat.completion{'.chunk' if stream else ''}"
        return {
            "id": f"{'cmpl' if self.legacy else 'chatcmpl'}-fake-{self.number}",
            "object": kind,
            "created": 1_700_000_000,
            "model": self.request.get("model") or "fake-model",
            "system_fingerprint": "fp_fake",
            **self.behavior.extra,
        }

    def usage(self, completion: int | None = None) -> dict[str, Any]:
        """The usage object; ``completion`` is the number of tokens of one choice so far (default: all)."""
        script, behavior = self.script, self.behavior
        prompt = script.prompt_tokens
        total = (script.completion_tokens if completion is None else completion) * self._choices
        found: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": total,
            "total_tokens": prompt + total,
        }
        if behavior.cached_tokens is not None:
            found["prompt_tokens_details"] = {"cached_tokens": behavior.cached_tokens}
        if behavior.reasoning_tokens is not None:
            found["completion_tokens_details"] = {"reasoning_tokens": behavior.reasoning_tokens}
        return found

    # --- whole answers

    def body(self) -> dict[str, Any]:
        choices = [self._whole_choice(index) for index in range(self._choices)]
        answer = {**self._envelope(stream=False), "choices": choices}
        if self.behavior.usage != "none":
            answer["usage"] = self.usage()
        return answer

    def _whole_choice(self, index: int) -> dict[str, Any]:
        reason = None if self.behavior.omit_finish else self.script.finish_reason
        logprobs = self._logprobs(self.script.pieces)
        if self.legacy:
            return {"index": index, "text": self.script.text, "logprobs": logprobs, "finish_reason": reason}
        message: dict[str, Any] = {"role": "assistant", "content": self.script.text, "refusal": None}
        if self.behavior.reasoning is not None:
            message["reasoning_content"] = self.behavior.reasoning
        if self.script.tool_calls:
            message["content"] = None
            message["tool_calls"] = [
                {
                    "id": self._call_id(position, index),
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments_text()},
                }
                for position, call in enumerate(self.script.tool_calls)
            ]
        message.update(self.behavior.message_extra)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason}

    # --- streams

    def events(self) -> Iterator[StreamEvent]:
        """All events of the stream but ``[DONE]``, in order."""
        options = self.request.get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        mode = self.behavior.usage
        sent = 0
        for event in self._plain_events():
            sent += event.counted
            if mode == "every_chunk_null" and asked:
                event.payload["usage"] = None
            elif mode == "continuous" and asked:
                event.payload["usage"] = self.usage(min(sent // self._choices, self.script.completion_tokens))
            yield event
        if mode == "unasked" or (asked and mode in ("every_chunk_null", "final", "continuous")):
            yield StreamEvent({**self._envelope(stream=True), "choices": [], "usage": self.usage()})

    def _plain_events(self) -> Iterator[StreamEvent]:
        every = range(self._choices)
        yield from self._opening()
        for piece in self.script.pieces:
            for index in every:
                yield self._content(index, piece)
        for index in every:
            for delta in self._tool_deltas(index):
                yield self._chunk(index, {"tool_calls": [delta]}, counted=True)
        if not self.behavior.omit_finish:
            yield from self._closing()

    def _opening(self) -> Iterator[StreamEvent]:
        every = range(self._choices)
        if not self.legacy:
            for index in every:
                yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})
        if self.behavior.reasoning is not None:
            for index in every:
                yield self._chunk(index, {"reasoning_content": self.behavior.reasoning})
        if self.behavior.huge_event:
            yield self._content(0, "x" * self.behavior.huge_event)

    def _closing(self) -> Iterator[StreamEvent]:
        for index in range(self._choices):
            event = self._chunk(index, {}, finish=self.script.finish_reason)
            if self.behavior.usage == "with_finish" and index == self._choices - 1:
                event.payload["usage"] = self.usage()
            yield event

    def _content(self, index: int, piece: str) -> StreamEvent:
        return self._chunk(index, {"content": piece}, counted=True, logprobs=self._logprobs((piece,)))

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        counted: bool = False,
        finish: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> StreamEvent:
        choice: dict[str, Any] = {"index": index, "logprobs": logprobs, "finish_reason": finish}
        if self.legacy:
            choice["text"] = delta.get("content", "")
        else:
            choice["delta"] = {**delta, **self.behavior.message_extra} if counted else delta
        return StreamEvent({**self._envelope(stream=True), "choices": [choice]}, counted=counted)

    def _tool_deltas(self, choice: int) -> Iterator[dict[str, Any]]:
        """First the head of every call, then their arguments in turn: parallel calls, interleaved."""
        fragments: list[list[str]] = []
        for position, call in enumerate(self.script.tool_calls):
            yield {
                "index": position,
                "id": self._call_id(position, choice),
                "type": "function",
                "function": {"name": call.name, "arguments": ""},
            }
            text = call.arguments_text()
            step = max(1, -(-len(text) // 3))
            fragments.append([text[start : start + step] for start in range(0, len(text), step)])
        for turn in range(max(map(len, fragments), default=0)):
            for position, parts in enumerate(fragments):
                if turn < len(parts):
                    yield {"index": position, "function": {"arguments": parts[turn]}}

    def _call_id(self, position: int, choice: int) -> str:
        given = self.script.tool_calls[position].id
        return given if given is not None else f"call_{self.number}_{choice}_{position}"

    def _logprobs(self, pieces: tuple[str, ...]) -> dict[str, Any] | None:
        wanted = self.request.get("logprobs")
        if wanted is None or wanted is False or self.script.tool_calls:
            return None
        if self.legacy:
            return {
                "tokens": list(pieces),
                "token_logprobs": [-0.5] * len(pieces),
                "top_logprobs": [{piece: -0.5} for piece in pieces],
                "text_offset": list(range(len(pieces))),
            }
        top = self.request.get("top_logprobs") or 0
        return {"content": [self._token_logprob(piece, top) for piece in pieces], "refusal": None}

    @staticmethod
    def _token_logprob(piece: str, top: int) -> dict[str, Any]:
        def entry(token: str, logprob: float) -> dict[str, Any]:
            return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}

        alternatives = [entry(piece if rank == 0 else f"{piece}{rank}", -0.5 - rank) for rank in range(top)]
        return {**entry(piece, -0.5), "top_logprobs": alternatives}
