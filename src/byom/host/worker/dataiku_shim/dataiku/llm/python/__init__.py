"""Bases of models that are written in Python. Plain classes: a subclass need not call ``super().__init__()``."""

from __future__ import annotations

from .chat_model import BaseLLM
from .embedding_model import BaseEmbeddingModel
from .reranking_model import BaseRerankingModel

__all__ = ["BaseEmbeddingModel", "BaseLLM", "BaseRerankingModel"]
