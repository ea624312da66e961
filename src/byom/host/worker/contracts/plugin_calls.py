"""Calling plugin code in a thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..contract import CallError, Context, Embedded, Event, Ranked
from ..driving import thread_loop
from .choices import Choices
from .plugin_answer import Answer
from .plugin_failure import failure, secrets_of
from .plugin_instances import Instance, Instances
from .plugin_modules import manner
from .plugin_plain import as_mapping
from .plugin_query import (
    chat_query,
    chat_settings,
    embedding_query,
    embedding_settings,
    reranking_query,
)
from .plugin_results import OneByOne, embedded, ranked, together
from .plugin_trace import Span

WAIT = 0.1
"""Seconds between looks at whether a call that waits its turn was cancelled."""


@dataclass
class PluginModel:
    """One ability of a configured model: the class, its written methods, its instances."""

    kind: type
    variants: list[str]
    instances: Instances
    secrets: list[str]
    config: dict[str, Any] | None = None
    """What holds where a call brings no configuration of its own."""
    plugin_config: dict[str, Any] | None = None
    preset: str = ""
    """That the caller's own credential is of; empty where the model needs none."""
    one_by_one: bool = False
    """Embeds one text at a time, as was found out."""

    @property
    def asynchronous(self) -> bool:
        return manner(self.kind, self.variants[0]).startswith("a")

    def known(self, context: Context) -> Context:
        """The context with a configuration."""
        config = context.config if context.config is not None else self.config
        plugin_config = context.plugin_config if context.plugin_config is not None else self.plugin_config
        return replace(context, config=config, plugin_config=plugin_config)

    @contextmanager
    def reported(self, method: str, context: Context) -> Iterator[None]:
        """Turns what plugin code raises into a `CallError`. `NotImplementedError` passes: another method may do."""
        try:
            yield
        except (CallError, NotImplementedError, OneByOne):
            raise
        except Exception as error:  # noqa: BLE001 - the code is the user's; its trace may hold secrets, so no chain
            doing = f"{self.kind.__name__}.{method}"
            raise failure(error, doing, secrets_of(context, self.secrets), self.preset) from None


def unwritten(model: PluginModel) -> CallError:
    return CallError(
        f"{model.kind.__name__} answers with none of its methods ({', '.join(model.variants)}): each gave None or"
        " raised NotImplementedError",
        code="plugin_failed",
    )


def is_whole(result: Any) -> bool:
    """Whether it is an answer in one piece, rather than a stream of pieces."""
    if isinstance(result, (str, bytes)) or as_mapping(result) is not None:
        return True
    return not hasattr(result, "__iter__") and not hasattr(result, "__aiter__")


class ThreadCalls:
    """Calls of a model whose preferred method is a plain one. Everything may block."""

    def chat(self, model: PluginModel, request: dict[str, Any], context: Context) -> Iterator[Event]:
        choices = Choices(request)
        for index in range(choices.count):
            for event in self._choice(model, request, context):
                yield choices.numbered(event, index)
            if context.cancelled.is_set():
                return

    def _choice(self, model: PluginModel, request: dict[str, Any], context: Context) -> Iterator[Event]:
        context = model.known(context)
        with self._instance(model, context) as instance:
            for variant in model.variants:
                answered = False
                try:
                    for event in self._answer(model, instance, variant, request, context):
                        answered = True
                        yield event
                except NotImplementedError as error:
                    if answered:
                        raise CallError(f"{model.kind.__name__}.{variant} stopped: {error}") from error
                if answered:
                    return
        raise unwritten(model)

    def _answer(
        self, model: PluginModel, instance: Instance, variant: str, request: dict[str, Any], context: Context
    ) -> Iterator[Event]:
        method = getattr(instance.model, variant)
        answer = Answer()
        with model.reported(variant, context), Span("plugin") as trace:
            result = _finished(method(chat_query(request), chat_settings(request), trace))
            if result is None:
                return
            if is_whole(result):
                yield from answer.whole(result)
            else:
                pieces = _drained(result) if hasattr(result, "__aiter__") else iter(result)
                try:
                    for item in pieces:
                        if context.cancelled.is_set():
                            return
                        yield from answer.piece(item)
                finally:
                    _close(pieces)
            yield from answer.end()

    def embed(self, model: PluginModel, texts: Sequence[str], options: dict[str, Any], context: Context) -> Embedded:
        context = model.known(context)
        settings = embedding_settings(options)

        def part(some: Sequence[str]) -> Embedded:
            result = self._result(model, embedding_query(some), settings, context)
            with model.reported("process", context):
                return embedded(result, len(some))

        if not model.one_by_one or len(texts) == 1:
            try:
                return part(texts)
            except OneByOne:
                model.one_by_one = True
        return together([part([text]) for text in texts])

    def rerank(self, model: PluginModel, query: str, documents: Sequence[str], context: Context) -> Ranked:
        context = model.known(context)
        result = self._result(model, reranking_query(query, documents), {}, context)
        with model.reported("process", context):
            return ranked(result, len(documents))

    def _result(self, model: PluginModel, query: dict[str, Any], settings: dict[str, Any], context: Context) -> Any:
        with self._instance(model, context) as instance:
            for variant in model.variants:
                method = getattr(instance.model, variant)
                try:
                    with model.reported(variant, context), one_text(query), Span("plugin") as trace:
                        result = _finished(method(query, settings, trace))
                except NotImplementedError:
                    continue
                if result is not None:
                    return result
        raise unwritten(model)

    @contextmanager
    def _instance(self, model: PluginModel, context: Context) -> Iterator[Instance]:
        with model.reported("set_config", context):
            instance = model.instances.get(context)
        if instance.gate is None:
            yield instance
            return
        while not instance.gate.acquire(timeout=WAIT):
            if context.cancelled.is_set():
                raise CallError("the call was cancelled", status=499, code="cancelled")
        try:
            yield instance
        finally:
            instance.gate.release()


@contextmanager
def one_text(query: dict[str, Any]) -> Iterator[None]:
    """Sees that a plugin looked for the text of a single query, where there are several."""
    try:
        yield
    except KeyError as error:
        if error.args == ("text",) and len(query.get("queries") or ()) > 1:
            raise OneByOne from error
        raise


def _finished(result: Any) -> Any:
    """The result of a coroutine, where a method gave one."""
    return thread_loop().run_until_complete(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def _drained(pieces: Any) -> Iterator[Any]:
    """An asynchronous stream, walked in this thread."""
    loop = thread_loop()
    walk = pieces.__aiter__()
    try:
        while True:
            try:
                yield loop.run_until_complete(walk.__anext__())
            except StopAsyncIteration:
                return
    finally:
        if hasattr(walk, "aclose"):
            loop.run_until_complete(walk.aclose())


def _close(pieces: Any) -> None:
    close: Callable[[], Any] | None = getattr(pieces, "close", None)
    if callable(close):
        close()
