from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from byom.models.collect import collect
from byom.types.chat import ChatEvent
from byom.types.usage import Usage


async def stream(*events: ChatEvent) -> AsyncIterator[ChatEvent]:
    for event in events:
        yield event


async def test_interleaved_parallel_tool_calls_are_joined_by_index_whatever_their_order() -> None:
    def delta(index: int, **fields: object) -> ChatEvent:
        return ChatEvent(tool_calls=[{"index": index, **fields}])

    answer = await collect(
        stream(
            delta(1, id="b", type="function", function={"name": "two", "arguments": ""}),
            delta(0, id="a", type="function", function={"name": "one", "arguments": '{"x'}),
            delta(1, function={"arguments": '{"y": 2'}),
            delta(0, function={"arguments": '": 1}'}),
            delta(1, function={"arguments": "}"}, id=None),
            ChatEvent(finish_reason="tool_calls", usage=Usage(prompt_tokens=1)),
        )
    )
    assert answer.tool_calls == [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "two", "arguments": '{"y": 2}'}},
    ]
    assert answer.finish_reason == "tool_calls"


async def test_an_empty_stream_is_an_empty_answer() -> None:
    answer = await collect(stream())
    assert (answer.text, answer.tool_calls, answer.finish_reason, answer.usage) == ("", [], None, None)


async def test_the_stream_is_closed_when_reading_it_fails() -> None:
    closed = False

    async def failing() -> AsyncIterator[ChatEvent]:
        nonlocal closed
        try:
            yield ChatEvent(text="a")
            raise ValueError("broken")
        finally:
            closed = True

    with pytest.raises(ValueError, match="broken"):
        await collect(failing())
    assert closed
