from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from byom.errors import UpstreamError, UpstreamProtocol
from byom.models.collect import collect
from byom.models.function import FunctionChatModel, FunctionEmbeddingModel, prompt_of
from byom.types.chat import ChatRequest
from byom.types.model_info import ModelInfo

INFO = ModelInfo(name="f")
HELLO = ChatRequest(messages=[{"role": "user", "content": "hello"}])


async def run(fn: Any, request: ChatRequest = HELLO) -> Any:
    return await collect(FunctionChatModel(fn, INFO).chat(request))


class Callable:
    async def __call__(self, request: ChatRequest) -> str:
        return "object"


async def test_functions_of_every_kind_are_taken() -> None:
    async def coroutine(request: ChatRequest) -> tuple[str, tuple[int, int]]:
        return "async", (1, 2)

    def generator(request: ChatRequest) -> Iterator[str]:
        yield "gen"
        yield "erated"

    async def two(prefix: str, request: ChatRequest) -> str:
        return prefix

    assert (await run(coroutine)).usage.total_tokens == 3
    assert (await run(generator)).text == "generated"
    assert (await run(lambda request: prompt_of(request))).text == "hello"
    assert (await run(Callable())).text == "object"
    assert (await run(functools.partial(two, "partial"))).text == "partial"


async def test_tokens_of_zero_mean_unknown_and_are_estimated() -> None:
    result = await run(lambda request: ("some words here", (0, 0)))
    assert result.usage.estimated
    assert result.usage.completion_tokens == 3


async def test_n_calls_the_function_n_times() -> None:
    answers = iter(["a", "b", "c"])
    result = await run(lambda request: next(answers), ChatRequest(messages=HELLO.messages, n=3))
    assert [choice.text for choice in result.choices] == ["a", "b", "c"]


async def test_plain_functions_run_off_the_event_loop() -> None:
    threads: list[int] = []

    def fn(request: ChatRequest) -> str:
        threads.append(threading.get_ident())
        return "x"

    await run(fn)
    assert threads[0] != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("secret sauce"), StopIteration(), KeyError("k")])
async def test_what_a_function_raises_is_an_upstream_error(error: Exception) -> None:
    def fn(request: ChatRequest) -> str:
        raise error

    with pytest.raises(UpstreamError, match="model 'f' raised"):
        await asyncio.wait_for(run(fn), 5)


@pytest.mark.parametrize("value", [None, 3, ("a",), ("a", "b"), ("a", (1, -1)), b"bytes"])
async def test_what_is_not_text_is_refused(value: Any) -> None:
    with pytest.raises(UpstreamProtocol):
        await run(lambda request: value)


async def test_breaking_off_stops_the_function() -> None:
    """Gateway checklist 4."""
    produced = 0
    closed = False

    async def endless(request: ChatRequest) -> AsyncIterator[str]:
        nonlocal produced, closed
        try:
            while True:
                produced += 1
                yield "x"
        finally:
            closed = True

    events = FunctionChatModel(endless, INFO).chat(HELLO)
    for _ in range(3):
        await anext(events)
    await events.aclose()
    assert (produced, closed) == (3, True)


async def test_breaking_off_a_plain_generator_closes_it() -> None:
    closed = threading.Event()

    def endless(request: ChatRequest) -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    events = FunctionChatModel(endless, INFO).chat(HELLO)
    await anext(events)
    await events.aclose()
    assert closed.is_set()


@pytest.mark.parametrize("value", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[1.0], ["x"]], None])
async def test_vectors_that_do_not_fit_are_refused(value: Any) -> None:
    with pytest.raises((UpstreamError, UpstreamProtocol)):
        await FunctionEmbeddingModel(lambda texts: value, INFO).embed(["a", "b"])


async def test_vectors_may_come_with_tokens() -> None:
    result = await FunctionEmbeddingModel(lambda texts: ([[1, 2]], (5, 0)), INFO).embed(["a"])
    assert result.vectors == [[1.0, 2.0]]
    assert (result.usage.prompt_tokens, result.usage.estimated) == (5, False)


def test_a_prompt_of_several_messages_names_the_roles() -> None:
    request = ChatRequest(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {}}]},
        ]
    )
    assert prompt_of(request) == "system: Be brief.\n\nuser: Hi"
