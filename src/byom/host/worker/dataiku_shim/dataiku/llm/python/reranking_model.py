"""The base of reranking models."""

from __future__ import annotations

from typing import Any

from .configured import Configured
from .not_written import missing, not_written


class BaseRerankingModel(Configured):
    """A reranking model."""

    @not_written
    def process(self, query: dict[str, Any], settings: dict[str, Any], trace: Any) -> dict[str, Any]:
        """``query``: ``queryParts`` and ``documents[].parts``, each part ``{"type": "TEXT", "text": …}``; the answer:
        ``{"documents": [{"index": …, "relevanceScore": …}, …]}``, the best first."""
        raise missing(self, "process")

    @not_written
    async def aprocess(self, query: dict[str, Any], settings: dict[str, Any], trace: Any) -> dict[str, Any]:
        raise missing(self, "aprocess")
