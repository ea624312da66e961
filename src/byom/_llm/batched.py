"""Embeddings in batches of the size that a function takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from byom.errors import UpstreamProtocol
from byom.models.protocols import EmbeddingModel
from byom.types.embeddings import Embeddings
from byom.types.usage import Usage

BATCHES_AT_ONCE = 8


class OneTextAtATime(UpstreamProtocol):
    """A function that was given several texts returned a single vector."""


class BatchSize:
    """How many texts a function takes in one call: what was declared, until it turns out to take one at a time."""

    def __init__(self, most: int) -> None:
        self.most = most


class BatchedEmbeddingModel:
    """``model``, in calls of at most ``size`` texts, several at the same time."""

    def __init__(self, model: EmbeddingModel, size: BatchSize) -> None:
        self.info = model.info
        self._model = model
        self._size = size

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text, in order; no call for no texts. The first failure ends the others."""
        size = self._size.most
        try:
            return await self._embed(texts, size)
        except OneTextAtATime:
            if size == 1:
                raise
            self._size.most = 1
        return await self._embed(texts, 1)

    async def _embed(self, texts: Sequence[str], size: int) -> Embeddings:
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        free = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def call(batch: Sequence[str]) -> Embeddings:
            async with free:
                return await self._model.embed(batch)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(call(batch)) for batch in batches]
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
            raise first from first.__cause__
        whole = Embeddings(vectors=[], usage=Usage(), model=self.info.name)
        for task in tasks:
            part = task.result()
            whole.vectors += part.vectors
            whole.usage.prompt_tokens += part.usage.prompt_tokens
            whole.usage.estimated |= part.usage.estimated
        return whole

    async def aclose(self) -> None:
        await self._model.aclose()
