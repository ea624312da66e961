"""The base of embedding models."""

from __future__ import annotations

from typing import Any

from .configured import Configured
from .not_written import missing, not_written


class BaseEmbeddingModel(Configured):
    """An embedding model."""

    @not_written
    def process(self, query: dict[str, Any], settings: dict[str, Any], trace: Any) -> dict[str, Any]:
        """``query``: ``{"queries": [{"text": …}, …]}``; the answer: ``{"responses": [{"embedding": […]}, …]}``."""
        raise missing(self, "process")

    @not_written
    async def aprocess(self, query: dict[str, Any], settings: dict[str, Any], trace: Any) -> dict[str, Any]:
        raise missing(self, "aprocess")
