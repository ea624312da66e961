"""LangChain's classes for models of a hub; they need the packages dataiku-api-client and langchain-core."""

from __future__ import annotations

from typing import Any

from .foreign import class_of

NAMES = ("DKUChatModel", "DKULLM", "DKUEmbeddings")


def __getattr__(name: str) -> Any:
    return class_of(__name__, name, NAMES)
