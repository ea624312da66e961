"""What a host can serve: the protocols of `byom.models`, and those that only a wire format needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from byom.models.protocols import ChatModel, EmbeddingModel
from byom.types.embeddings import Embeddings
from byom.types.model_info import ModelInfo
from byom.types.usage import Usage


class RankedDocument(msgspec.Struct, frozen=True):
    """``index`` is the document's place in the request; ``score`` runs from 0 to 1."""

    index: int
    score: float


class Ranking(msgspec.Struct, kw_only=True):
    """All documents of a request, the best first."""

    documents: list[RankedDocument]
    usage: Usage


@runtime_checkable
class RerankModel(Protocol):
    info: ModelInfo

    async def rerank(self, query: str, documents: Sequence[str]) -> Ranking:
        """Scores every document against the query."""

    async def aclose(self) -> None: ...


@runtime_checkable
class SizedEmbeddingModel(Protocol):
    """An embedding model that can be asked for vectors of another length, up to ``max_dimensions``."""

    info: ModelInfo
    max_dimensions: int

    async def embed(self, texts: Sequence[str], dimensions: int | None = None) -> Embeddings: ...

    async def aclose(self) -> None: ...


ServedModel = ChatModel | EmbeddingModel | RerankModel
"""A model may be several of these at once; a call for an ability that it lacks is refused with a clear 400."""
