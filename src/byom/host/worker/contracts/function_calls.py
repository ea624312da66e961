"""Calls of function models: in threads, or on an event loop where the function is asynchronous."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from ..contract import CallError, Context, Embedded, Event, ModelDescription, Served
from . import openai_wire
from .asynchrony import run_here, underlying
from .code_errors import call_error
from .messages import prompt_of
from .results import TextList, counted, text_and_tokens, vectors_and_tokens

_SENT = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "reasoning_effort",
)
"""Fields of a request that reach ``model.args``, where the caller sent them."""
_NOT_FORWARDED = ("model", "stream", "stream_options", "user", "store", "metadata")


class _Function(Served):
    """What both kinds share: the model object, its client, and what a call gives to the function."""

    def __init__(self, model: Any, description: ModelDescription, api_key: str | None, call: str) -> None:
        self.description = description
        self._model = model
        self._api_key = api_key
        self._call = call
        self._who = f"{getattr(underlying(model.fn), '__name__', 'the function')!r} of model {description.name!r}"
        self._lock = threading.Lock()
        self._ready = False
        self._whole = bool(getattr(model, "sends_whole_requests", False))
        self._one_text = getattr(model, "batch_size", None) is None

    def warm_up(self) -> None:
        """Make the client, once. Raises `CallError`; the next call tries again."""
        if self._ready:
            return
        with self._lock:
            if self._ready:
                return
            try:
                self._set_up()
            except Exception as error:  # whatever the user's function raises
                name = getattr(self._model.setup_fn, "__name__", "setup_fn")
                raise call_error(error, f"{name!r} of model {self.description.name!r}") from error
            self._ready = True

    def _set_up(self) -> None:
        model = self._model
        if hasattr(model, "is_set_up"):
            if self._api_key is not None or not model.is_set_up:
                model.set_up(self._api_key)
        elif self._api_key is not None:  # a class of somebody else's has made its client already, with another key
            model.client = model.setup_fn(self._api_key)

    def _arguments(self, request: dict[str, Any]) -> tuple[Any, ...]:
        """A copy of the model for this call, its ``args`` completed by what the caller sent, and the input."""
        whole = {"messages": request.get("messages"), "request": request}
        given = whole.get(self._call.rpartition(" ")[2]) or prompt_of(request.get("messages") or [])
        if not self._call.startswith("model"):
            return (given,)
        return self._copy({name: request[name] for name in _SENT if request.get(name) is not None}), given

    def _copy(self, values: dict[str, Any]) -> Any:
        mine = copy.copy(self._model)
        mine.args = {**self._model.args, **values}
        return mine

    def _embed_arguments(self, texts: Sequence[str]) -> tuple[Any, ...]:
        given: Any = texts[0] if self._one_text else TextList(texts)
        return (self._copy({}), given) if self._call.startswith("model") else (given,)

    def _batches(self, texts: Sequence[str]) -> list[Sequence[str]]:
        size = 1 if self._one_text else int(self._model.batch_size)
        return [texts[start : start + size] for start in range(0, len(texts), size)]

    def _answered(self, index: int, result: Any, usage: _Usage) -> list[Event]:
        text, told = text_and_tokens(result, self._who)
        usage.add(told)
        return [{"index": index, "text": text}] if text else []

    def _piece(self, index: int, piece: Any, usage: _Usage) -> Event | None:
        """What a generator gave: text, an event, or at its end the tokens."""
        if isinstance(piece, dict):
            return {"index": index, **piece}
        if isinstance(piece, (tuple, list)):
            usage.add(counted(piece, self._who))
            return None
        text, _ = text_and_tokens(piece, self._who)
        return {"index": index, "text": text} if text else None


class FunctionServed(_Function):
    """A function that may block: its calls run in threads. Also for ``async def`` without any ``await``."""

    def chat(self, request: dict[str, Any], context: Context) -> Iterator[Event]:
        self.warm_up()
        if self._whole:
            yield from self._passed_on(self._model.openai_address(), request)
            return
        count, usage = _count(request), _Usage()
        for index in range(count):
            usage.begin()
            try:
                for event in self._events(index, request, usage):
                    if context.cancelled.is_set():
                        return
                    yield event
            except Exception as error:  # whatever the user's function raises
                raise call_error(error, self._who) from error
            yield usage.last(index, count)

    def embed(self, texts: Sequence[str], options: dict[str, Any], context: Context) -> Embedded:  # noqa: ARG002
        self.warm_up()
        whole = _Vectors()
        try:
            for batch in self._batches(texts):
                self._add(whole, batch, context)
        except Exception as error:  # whatever the user's function raises
            raise call_error(error, self._who) from error
        return whole.embedded()

    def _add(self, whole: _Vectors, batch: Sequence[str], context: Context) -> None:
        if context.cancelled.is_set():
            raise CallError("The call was cancelled.", status=499)
        result = self._embedded_there(batch) if self._whole else _run(self._model.fn, self._embed_arguments(batch))
        vectors, told = vectors_and_tokens(result, len(batch), self._who)
        if vectors is not None:
            whole.add(vectors, told)
            return
        self._one_text = True
        for text in batch:
            self._add(whole, [text], context)

    def _events(self, index: int, request: dict[str, Any], usage: _Usage) -> Iterator[Event]:
        result = _run(self._model.fn, self._arguments(request))
        if not isinstance(result, Iterator):
            yield from self._answered(index, result, usage)
            return
        try:
            for piece in result:
                given = self._piece(index, piece, usage)
                if given is not None:
                    yield given
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _embedded_there(self, texts: Sequence[str]) -> tuple[Any, Any]:
        base_url, key = self._model.openai_address()
        body = {**self._model.args, "model": self._model.name, "input": list(texts), "encoding_format": "float"}
        return openai_wire.vectors(openai_wire.complete(base_url, key, "embeddings", body))

    def _passed_on(self, address: tuple[str, str | None], request: dict[str, Any]) -> Iterator[Event]:
        """To a server that speaks OpenAI's API the request goes whole, and its answer in pieces."""
        args = dict(self._model.args)
        messages = list(request.get("messages") or ())
        system = args.pop("system_prompt", None)
        if system and not any(message.get("role") in ("system", "developer") for message in messages):
            messages.insert(0, {"role": "system", "content": system})
        sent = {name: value for name, value in request.items() if name not in _NOT_FORWARDED and value is not None}
        body = {**args, **sent, "messages": messages, "model": self._model.name}
        yield from openai_wire.stream(*address, body)


class AsyncFunctionServed(_Function):
    """A function that awaits. Its calls share an event loop; one that blocks it all the same is moved to threads."""

    asynchronous = True

    async def _warm(self) -> None:
        if not self._ready:
            await asyncio.get_running_loop().run_in_executor(None, self.warm_up)

    async def chat(self, request: dict[str, Any], context: Context) -> AsyncIterator[Event]:  # noqa: ARG002 - its task is cancelled
        await self._warm()
        count, usage = _count(request), _Usage()
        for index in range(count):
            usage.begin()
            try:
                async for event in self._events(index, request, usage):
                    yield event
            except Exception as error:  # whatever the user's function raises
                raise call_error(error, self._who) from error
            yield usage.last(index, count)

    async def embed(self, texts: Sequence[str], options: dict[str, Any], context: Context) -> Embedded:  # noqa: ARG002
        await self._warm()
        whole = _Vectors()
        try:
            for batch in self._batches(texts):
                await self._add(whole, batch)
        except Exception as error:  # whatever the user's function raises
            raise call_error(error, self._who) from error
        return whole.embedded()

    async def _add(self, whole: _Vectors, batch: Sequence[str]) -> None:
        result = await self._model.fn(*self._embed_arguments(batch))
        vectors, told = vectors_and_tokens(result, len(batch), self._who)
        if vectors is not None:
            whole.add(vectors, told)
            return
        self._one_text = True
        for text in batch:
            await self._add(whole, [text])

    async def _events(self, index: int, request: dict[str, Any], usage: _Usage) -> AsyncIterator[Event]:
        made = self._model.fn(*self._arguments(request))
        if not hasattr(made, "__aiter__"):
            for event in self._answered(index, await made, usage):
                yield event
            return
        try:
            async for piece in made:
                given = self._piece(index, piece, usage)
                if given is not None:
                    yield given
        finally:
            close = getattr(made, "aclose", None)
            if close is not None:
                await close()


class _Usage:
    """Tokens over the answers of one call. Told by the function for each of them, or not at all."""

    def __init__(self) -> None:
        self._tokens = [0, 0]
        self._answers = 0
        self._told = 0

    def begin(self) -> None:
        self._answers += 1

    def add(self, told: tuple[int, int]) -> None:
        if any(told):
            self._told += 1
            self._tokens = [self._tokens[0] + told[0], self._tokens[1] + told[1]]

    def last(self, index: int, count: int) -> Event:
        """The last event of one answer; that of the last one carries the usage where it is known."""
        event: Event = {"index": index, "finish_reason": "stop"}
        if index == count - 1 and self._told == self._answers:
            event["usage"] = {"prompt_tokens": self._tokens[0], "completion_tokens": self._tokens[1]}
        return event


class _Vectors:
    """The vectors of all batches of one call, and their tokens where every batch told them."""

    def __init__(self) -> None:
        self._vectors: list[list[float]] = []
        self._tokens: int | None = 0

    def add(self, vectors: list[list[float]], told: tuple[int, int]) -> None:
        self._vectors += vectors
        self._tokens = None if self._tokens is None or not told[0] else self._tokens + told[0]

    def embedded(self) -> Embedded:
        made: Embedded = {"vectors": self._vectors}
        if self._tokens:
            made["usage"] = {"prompt_tokens": self._tokens, "completion_tokens": 0}
        return made


def _count(request: dict[str, Any]) -> int:
    return max(1, int(request.get("n") or 1))


def _run(fn: Any, arguments: tuple[Any, ...]) -> Any:
    result = fn(*arguments)
    return run_here(result) if hasattr(result, "send") and hasattr(result, "cr_frame") else result
