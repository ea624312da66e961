"""Where older plugins import their base from."""

from __future__ import annotations

from ..embedding_model import BaseEmbeddingModel

__all__ = ["BaseEmbeddingModel"]
