"""What an answer must end with, where the code does not say it: reasons, and tokens that are estimated and marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byom.types.chat import ChatEvent, ChatRequest
from byom.types.tokens import estimate_messages, estimate_tokens
from byom.types.usage import Usage


class Ending:
    """Sees the events of a chat answer pass by."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._text: list[str] = []
        self._open: dict[int, str] = {}
        self._closed: set[int] = set()
        self._usage: Any = None

    def saw(self, event: ChatEvent, usage: Any) -> bool:
        """Whether the event has anything for the caller; its usage is kept for the end."""
        if usage is not None:
            self._usage = usage
        if not (event.text or event.reasoning or event.tool_calls or event.finish_reason):
            return False
        self._text += (event.text, event.reasoning)
        for call in event.tool_calls or ():
            self._text.append(str((call.get("function") or {}).get("arguments") or ""))
        if event.tool_calls or event.index not in self._open:
            self._open[event.index] = "tool_calls" if event.tool_calls else "stop"
        if event.finish_reason:
            self._closed.add(event.index)
        return True

    def events(self) -> list[ChatEvent]:
        """A reason for every choice without one; the last event has the usage."""
        missing = {index: reason for index, reason in (self._open or {0: "stop"}).items() if index not in self._closed}
        events = [ChatEvent(index=index, finish_reason=reason) for index, reason in sorted(missing.items())]
        return [*events, ChatEvent(usage=self._tokens())]

    def _tokens(self) -> Usage:
        known = self._usage if isinstance(self._usage, dict) else {}
        sent, made = _count(known.get("prompt_tokens")), _count(known.get("completion_tokens"))
        if not sent and not made:
            sent = made = None
        guessed = sent is None or made is None
        sent = estimate_messages(self._request.messages) if sent is None else sent
        made = estimate_tokens("".join(self._text)) if made is None else made
        return Usage(
            prompt_tokens=sent,
            completion_tokens=made,
            cached_tokens=min(_count(known.get("cached_tokens")) or 0, sent),
            reasoning_tokens=min(_count(known.get("reasoning_tokens")) or 0, made),
            estimated=guessed or bool(known.get("estimated")),
        )


def of_input(told: Any, texts: Sequence[str]) -> Usage:
    """The tokens of a call that only reads: those that the code told, or an estimate, marked."""
    known = told if isinstance(told, dict) else {}
    sent = _count(known.get("prompt_tokens"))
    if not sent:
        return Usage(prompt_tokens=sum(map(estimate_tokens, texts)), estimated=True)
    return Usage(prompt_tokens=sent, estimated=bool(known.get("estimated")))


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value >= 0 else None
