"""Models that try again what may succeed the second time, but never after an answer has begun."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import msgspec

from byom.errors import ByomError
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.models.streams import closing
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings

Sleep = Callable[[float], Awaitable[None]]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and after how long. Seconds."""

    attempts: int = 3
    """Tries in all."""
    base_delay: float = 0.5
    """Upper bound of the first pause; doubled each time. The pause itself is drawn evenly from 0 to the bound."""
    max_delay: float = 20.0
    max_retry_after: float = 60.0
    """A longer ``Retry-After`` is not waited for: the error is raised."""

    def pause(self, attempt: int, error: ByomError, uniform: Callable[[], float]) -> float | None:
        """Seconds until the next try after try number ``attempt`` (from 1); ``None`` when there is none."""
        if attempt >= self.attempts or not error.retryable:
            return None
        jittered = uniform() * min(self.max_delay, self.base_delay * 2 ** (attempt - 1))
        if error.retry_after is None:
            return float(jittered)
        # Jitter on top, or all who were told the same second come back in it.
        return None if error.retry_after > self.max_retry_after else error.retry_after + jittered * 0.1


class RetryingChatModel:
    """``model``, tried again on retryable errors that come before the first event."""

    def __init__(
        self,
        model: ChatModel,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        *,
        sleep: Sleep = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.info = model.info
        self._model = model
        self._backoff = backoff
        self._sleep = sleep
        self._uniform = uniform

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        attempt = 0
        while True:
            attempt += 1
            begun = False
            try:
                async with closing(self._model.chat(request)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except ByomError as error:
                pause = None if begun else self._backoff.pause(attempt, error, self._uniform)
                if pause is None:
                    raise
            await self._sleep(pause)

    async def aclose(self) -> None:
        await self._model.aclose()


class RetryingEmbeddingModel:
    """``model``, tried again on retryable errors."""

    def __init__(
        self,
        model: EmbeddingModel,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        *,
        sleep: Sleep = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.info = model.info
        self._model = model
        self._backoff = backoff
        self._sleep = sleep
        self._uniform = uniform

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._model.embed(texts)
            except ByomError as error:
                pause = self._backoff.pause(attempt, error, self._uniform)
                if pause is None:
                    raise
            await self._sleep(pause)

    async def aclose(self) -> None:
        await self._model.aclose()
