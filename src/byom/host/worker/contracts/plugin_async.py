"""Calling plugin code on an event loop. What blocks goes to threads."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..contract import CallError, Context, Embedded, Event, Ranked
from .choices import Choices
from .plugin_answer import Answer
from .plugin_calls import PluginModel, is_whole, one_text, unwritten
from .plugin_instances import Instance
from .plugin_modules import manner
from .plugin_query import chat_query, chat_settings, embedding_query, embedding_settings, reranking_query
from .plugin_results import OneByOne, embedded, ranked, together
from .plugin_trace import Span

WAIT = 0.01
"""Seconds between looks at an instance that takes no more calls."""
END = object()


class AsyncCalls:
    """Calls of a model whose preferred method is asynchronous."""

    async def chat(self, model: PluginModel, request: dict[str, Any], context: Context) -> AsyncIterator[Event]:
        choices = Choices(request)
        for index in range(choices.count):
            events = self._choice(model, request, context)
            try:
                async for event in events:
                    yield choices.numbered(event, index)
            finally:
                await events.aclose()

    async def _choice(
        self, model: PluginModel, request: dict[str, Any], context: Context
    ) -> AsyncGenerator[Event, None]:
        context = model.known(context)
        async with self._instance(model, context) as instance:
            for variant in model.variants:
                answered = False
                try:
                    async for event in self._answer(model, instance, variant, request, context):
                        answered = True
                        yield event
                except NotImplementedError as error:
                    if answered:
                        raise CallError(f"{model.kind.__name__}.{variant} stopped: {error}") from error
                if answered:
                    return
        raise unwritten(model)

    async def _answer(
        self, model: PluginModel, instance: Instance, variant: str, request: dict[str, Any], context: Context
    ) -> AsyncIterator[Event]:
        answer = Answer()
        with model.reported(variant, context), Span("plugin") as trace:
            result = await _called(model, instance, variant, (chat_query(request), chat_settings(request), trace))
            if result is None:
                return
            if is_whole(result):
                for event in answer.whole(result):
                    yield event
            else:
                pieces = _pieces(result)
                try:
                    async for item in pieces:
                        for event in answer.piece(item):
                            yield event
                finally:
                    await pieces.aclose()
            for event in answer.end():
                yield event

    async def embed(
        self, model: PluginModel, texts: Sequence[str], options: dict[str, Any], context: Context
    ) -> Embedded:
        context = model.known(context)
        settings = embedding_settings(options)

        async def part(some: Sequence[str]) -> Embedded:
            result = await self._result(model, embedding_query(some), settings, context)
            with model.reported("aprocess", context):
                return embedded(result, len(some))

        if not model.one_by_one or len(texts) == 1:
            try:
                return await part(texts)
            except OneByOne:
                model.one_by_one = True
        return together([await part([text]) for text in texts])

    async def rerank(self, model: PluginModel, query: str, documents: Sequence[str], context: Context) -> Ranked:
        context = model.known(context)
        result = await self._result(model, reranking_query(query, documents), {}, context)
        with model.reported("aprocess", context):
            return ranked(result, len(documents))

    async def _result(
        self, model: PluginModel, query: dict[str, Any], settings: dict[str, Any], context: Context
    ) -> Any:
        async with self._instance(model, context) as instance:
            for variant in model.variants:
                try:
                    with model.reported(variant, context), one_text(query), Span("plugin") as trace:
                        result = await _called(model, instance, variant, (query, settings, trace))
                except NotImplementedError:
                    continue
                if result is not None:
                    return result
        raise unwritten(model)

    @asynccontextmanager
    async def _instance(self, model: PluginModel, context: Context) -> AsyncIterator[Instance]:
        with model.reported("set_config", context):
            loop = asyncio.get_running_loop()
            instance = model.instances.ready(context, id(loop))
            if instance is None:
                instance = await loop.run_in_executor(None, model.instances.get, context, id(loop))
        gate = instance.gate
        # Looked at rather than waited for: threads and loops share it, and asyncio's own semaphores belong to one loop.
        while gate is not None and not gate.acquire(blocking=False):  # noqa: ASYNC110
            await asyncio.sleep(WAIT)
        try:
            yield instance
        finally:
            if gate is not None:
                gate.release()


async def _called(model: PluginModel, instance: Instance, variant: str, arguments: tuple[Any, ...]) -> Any:
    method = getattr(instance.model, variant)
    if manner(model.kind, variant).startswith("a"):
        result = method(*arguments)
    else:
        result = await asyncio.get_running_loop().run_in_executor(None, lambda: method(*arguments))
    return await result if inspect.isawaitable(result) else result


async def _pieces(result: Any) -> AsyncGenerator[Any, None]:
    """A stream of either manner; a plain one is walked in threads."""
    if hasattr(result, "__aiter__"):
        try:
            async for item in result:
                yield item
        finally:
            if hasattr(result, "aclose"):
                await result.aclose()
        return
    loop, walk = asyncio.get_running_loop(), iter(result)
    try:
        while (item := await loop.run_in_executor(None, next, walk, END)) is not END:
            yield item
    finally:
        if hasattr(walk, "close"):
            await loop.run_in_executor(None, walk.close)
