"""The object path's seam: two small protocols, whatever a model is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from byom.types.chat import ChatEvent, ChatRequest
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo


@runtime_checkable
class ChatModel(Protocol):
    info: ModelInfo

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Answer as a stream of events; the last one carries ``finish_reason`` and, where known, ``usage``."""

    async def aclose(self) -> None: ...


@runtime_checkable
class EmbeddingModel(Protocol):
    info: ModelInfo

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text, in the order given."""

    async def aclose(self) -> None: ...
