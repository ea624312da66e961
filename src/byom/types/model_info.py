"""What is known of a model: data only."""

from __future__ import annotations

from typing import Any

import msgspec

from byom.types.usage import Price


class ModelInfo(msgspec.Struct, kw_only=True):
    name: str
    abilities: frozenset[str] = frozenset({"chat"})
    """Some of: chat, generate, embed, rerank, vision, tools, json."""
    context_window: int | None = None
    """Tokens; ``None`` where it is not known."""
    dimensions: int | None = None
    """Length of an embedding; ``None`` where it is not known or the model makes none."""
    price: Price | None = None
    details: dict[str, Any] = {}
