"""Models made of Python functions."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

from byom.errors import ByomError, UpstreamError, UpstreamProtocol
from byom.models.streams import closing
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.tokens import estimate_messages, estimate_tokens
from byom.types.usage import Usage

Tokens: TypeAlias = tuple[int, int]
"""Prompt and completion tokens; ``(0, 0)`` means that they are not known."""
ChatResult: TypeAlias = str | tuple[str, Tokens]
ChatFunction: TypeAlias = Callable[
    [ChatRequest], ChatResult | Awaitable[ChatResult] | Iterator[str] | AsyncIterator[str]
]
EmbedResult: TypeAlias = Sequence[Sequence[float]] | tuple[Sequence[Sequence[float]], Tokens]
EmbedFunction: TypeAlias = Callable[[list[str]], EmbedResult | Awaitable[EmbedResult]]

_END = object()


def prompt_of(request: ChatRequest) -> str:
    """The texts of all messages, for functions that take one prompt: a single message as it is, several with roles."""
    texts = [(str(message.get("role", "user")), _content(message.get("content"))) for message in request.messages]
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in texts)


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


class FunctionChatModel:
    """A chat model over ``fn(request)``: async or plain, returning text, ``(text, (in, out))``, or yielding pieces.

    Plain functions run in a thread, so that they may block. Closing the stream early closes the function's generator;
    a plain function that has begun cannot be stopped, its result is dropped.
    """

    def __init__(self, fn: ChatFunction, info: ModelInfo) -> None:
        self.info = info
        self._fn = fn

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """One event for each piece; ``n`` calls the function as many times.

        What the function raises becomes `UpstreamError`; BYOM's own errors pass as they are.
        """
        total = Usage()
        count = request.n or 1
        for index in range(count):
            pieces: list[str] = []
            told: Tokens = (0, 0)
            async with contextlib.aclosing(self._answer(request)) as answer:
                async for piece in answer:
                    if isinstance(piece, tuple):
                        told = piece
                        continue
                    pieces.append(piece)
                    if piece:
                        yield ChatEvent(index=index, text=piece, model=self.info.name)
            _add(total, _usage(told, estimate_messages(request.messages), "".join(pieces)))
            last = index == count - 1
            yield ChatEvent(index=index, finish_reason="stop", usage=total if last else None, model=self.info.name)

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[str | Tokens, None]:
        """Pieces of text, and the tokens in a tuple where the function tells them."""
        with _translated(self.info.name):
            result = await _called(self._fn, request)
            if isinstance(result, AsyncIterator):
                async with closing(result) as pieces:
                    async for piece in pieces:
                        yield _checked_text(piece, self.info.name)
            elif isinstance(result, Iterator):
                async with closing(_threaded(result)) as pieces:
                    async for piece in pieces:
                        yield _checked_text(piece, self.info.name)
            elif isinstance(result, tuple):
                if len(result) != 2:
                    raise UpstreamProtocol(
                        f"The function of model '{self.info.name}' must return text or (text, tokens)."
                    )
                yield _checked_text(result[0], self.info.name)
                yield _checked_tokens(result[1], self.info.name)
            else:
                yield _checked_text(result, self.info.name)


class FunctionEmbeddingModel:
    """An embedding model over ``fn(texts)``: async or plain, returning vectors or ``(vectors, (in, out))``."""

    def __init__(self, fn: EmbedFunction, info: ModelInfo) -> None:
        self.info = info
        self._fn = fn

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text; the function is not called for no texts."""
        if not texts:
            return Embeddings(vectors=[], usage=Usage(), model=self.info.name)
        with _translated(self.info.name):
            result = await _called(self._fn, list(texts))
            told: Tokens = (0, 0)
            if isinstance(result, tuple) and len(result) == 2 and _is_tokens(result[1]):
                result, told = result[0], _checked_tokens(result[1], self.info.name)
            vectors = [[float(number) for number in vector] for vector in cast("Sequence[Sequence[float]]", result)]
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) != 1:
            raise UpstreamProtocol(
                f"The function of model '{self.info.name}' returned {len(vectors)} vectors for {len(texts)} texts, "
                "or vectors of different lengths."
            )
        usage = Usage(prompt_tokens=told[0]) if told[0] else None
        estimate = Usage(prompt_tokens=sum(map(estimate_tokens, texts)), estimated=True)
        return Embeddings(vectors=vectors, usage=usage or estimate, model=self.info.name)

    async def aclose(self) -> None:
        """Nothing is held."""


async def _called(fn: Callable[[Any], Any], argument: Any) -> Any:
    """The function's result. Generators are made here and run later; everything plain runs in a thread."""
    # A partial or an object with __call__ hides what it is; look at what will run.
    inner = fn.func if isinstance(fn, functools.partial) else fn
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        result = fn(argument)
    else:
        result = await asyncio.to_thread(_plain, fn, argument)
    return await result if inspect.isawaitable(result) else result


def _plain(fn: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return fn(argument)
    except StopIteration as error:  # a future cannot carry it: the caller would wait for ever
        raise RuntimeError("the function raised StopIteration") from error


async def _threaded(pieces: Iterator[str]) -> AsyncGenerator[str, None]:
    """Each step of a plain generator in a thread, one at a time."""
    try:
        while (piece := await asyncio.to_thread(next, pieces, _END)) is not _END:
            yield cast("str", piece)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):  # a cancelled step is still running in its thread
                close()


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (ByomError, GeneratorExit):
        raise
    except Exception as error:  # any exception may come out of a user's function
        raise UpstreamError(f"The function of model '{name}' raised {type(error).__name__}: {error}") from error


def _checked_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise UpstreamProtocol(f"The function of model '{name}' returned {type(value).__name__} where text belongs.")
    return value


def _is_tokens(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)
    )


def _checked_tokens(value: Any, name: str) -> Tokens:
    if not _is_tokens(value):
        raise UpstreamProtocol(f"The function of model '{name}' must tell tokens as (prompt, completion).")
    return int(value[0]), int(value[1])


def _usage(told: Tokens, prompt_estimate: int, text: str) -> Usage:
    if any(told):
        return Usage(prompt_tokens=told[0], completion_tokens=told[1])
    return Usage(prompt_tokens=prompt_estimate, completion_tokens=estimate_tokens(text), estimated=True)


def _add(total: Usage, usage: Usage) -> None:
    total.prompt_tokens += usage.prompt_tokens
    total.completion_tokens += usage.completion_tokens
    total.estimated |= usage.estimated
