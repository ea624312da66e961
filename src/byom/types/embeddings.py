"""Vectors for texts."""

from __future__ import annotations

import msgspec

from byom.types.usage import Usage


class Embeddings(msgspec.Struct, kw_only=True):
    """``vectors[i]`` belongs to ``texts[i]``; all have the same length."""

    vectors: list[list[float]]
    usage: Usage
    model: str | None = None
