"""Calls of class models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ..contract import CallError, Context, Event, ModelDescription, Served
from .asynchrony import run_here
from .class_instances import Instances
from .code_errors import call_error
from .messages import Message, intermediate

_KEYWORDS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
"""Fields of a request that become keywords, where the caller sent them."""
_CHARACTERS_PER_TOKEN = 4


class ClassServed(Served):
    """Calls wait for their instance on the event loop; ``generate_response`` runs in a thread, or on the loop where it
    ``waits`` for others itself."""

    asynchronous = True

    def __init__(
        self,
        instances: Instances,
        description: ModelDescription,
        keywords: dict[str, Any],
        rename: dict[str, str],
        *,
        waits: bool,
    ) -> None:
        self.description = description
        self._waits = waits
        self._instances = instances
        self._always = keywords
        self._rename = rename
        self._who = f"generate_response of {description.details.get('class')}"

    def warm_up(self) -> None:
        try:
            self._instances.ready()
        except Exception as error:  # whatever the user's class raises
            raise call_error(error, str(self.description.details.get("class"))) from error

    def close(self) -> None:
        for instance in self._instances.clear():
            close = getattr(instance, "close", None)
            if callable(close):
                close()

    def _keywords(self, request: dict[str, Any]) -> dict[str, Any]:
        """``model`` always, everything else only if it was sent, under the names that the class has for it."""
        sent = {name: request[name] for name in _KEYWORDS if request.get(name) is not None}
        if request.get("max_completion_tokens") is not None:
            sent.setdefault("max_tokens", request["max_completion_tokens"])
        return {**self._always, **{self._rename.get(name, name): value for name, value in sent.items()}}

    def _events(self, index: int, result: Any) -> list[Event]:
        text, info = self._read(result)
        last: Event = {"index": index, "finish_reason": "stop"}
        usage = usage_of(info, text)
        if usage:
            last["usage"] = usage
        return [{"index": index, "text": text}, last] if text else [last]

    def _read(self, result: Any) -> tuple[str, Any]:
        info: Any = None
        if isinstance(result, (tuple, list)):
            if len(result) != 2:
                raise CallError(f"{self._who} must return (text, info), not {len(result)} values.")
            result, info = result
        if result is not None and not isinstance(result, str):
            raise CallError(f"{self._who} returned {type(result).__name__} where text belongs.")
        return result or "", info

    async def chat(self, request: dict[str, Any], context: Context) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        messages = await loop.run_in_executor(None, intermediate, request.get("messages") or [])
        keywords = self._keywords(request)
        count, total = _count(request), _Total()
        for index in range(count):
            try:
                async with self._instances.one(context) as instance:
                    result = await self._result(instance, messages, keywords, context)
                events = self._events(index, result)
            except Exception as error:  # whatever the user's class raises
                raise call_error(error, self._who) from error
            for event in total.counted(events, index, count):
                yield event

    async def _result(self, instance: Any, messages: list[Message], keywords: dict[str, Any], context: Context) -> Any:
        if self._waits:
            return await instance.generate_response(_own(messages), **keywords)

        def call() -> Any:
            if context.cancelled.is_set():  # while it waited for a thread
                return "", {}
            result = instance.generate_response(_own(messages), **keywords)
            return run_here(result) if hasattr(result, "cr_frame") else result

        running = asyncio.get_running_loop().run_in_executor(None, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and until it ends its instance is in use: whoever does not want to wait that
            # long ends the process.
            await asyncio.wait([running])
            raise


class _Total:
    """Usage over ``n`` answers: on the last event, where every answer told it."""

    def __init__(self) -> None:
        self._told: list[Event] = []

    def counted(self, events: list[Event], index: int, count: int) -> list[Event]:
        usage = events[-1].pop("usage", None)
        if usage is not None:
            self._told.append(usage)
        if index == count - 1 and len(self._told) == count:
            whole: Event = {}
            for name in ("prompt_tokens", "completion_tokens"):
                if all(name in one for one in self._told):
                    whole[name] = sum(one[name] for one in self._told)
            if any(one.get("estimated") for one in self._told):
                whole["estimated"] = True
            events[-1]["usage"] = whole
        return events


def usage_of(info: Any, text: str) -> Event | None:
    """The tokens that a class told: what it does not know is left out, and a total alone is split by an estimate."""
    if not isinstance(info, dict):
        return None
    prompt = _told(info, "prompt_tokens", "input_tokens")
    completion = _told(info, "completion_tokens", "output_tokens")
    if prompt or completion:
        told = {"prompt_tokens": prompt, "completion_tokens": completion}
        return {name: value for name, value in told.items() if value is not None}
    total = _told(info, "total_tokens")
    if not total:
        return None
    # Some classes count the prompt alone and call it the total: no more than that is ever charged.
    answer = min(-(-len(text) // _CHARACTERS_PER_TOKEN), total)
    return {"prompt_tokens": total - answer, "completion_tokens": answer, "estimated": True}


def _told(info: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value: Any = info.get(name)
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _own(messages: list[Message]) -> list[Message]:
    """What one call of the class changes in its messages is not seen by the next."""
    return [Message(message) for message in messages]


def _count(request: dict[str, Any]) -> int:
    return max(1, int(request.get("n") or 1))
