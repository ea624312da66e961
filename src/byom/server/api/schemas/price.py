"""The user's own prices."""

from __future__ import annotations

from pydantic import Field

from byom.server.api.schemas.fields import Shown
from byom.server.api.schemas.policies import Price


class PriceOverride(Shown):
    pattern: str = Field(description="A model's name, or a pattern with * and ?.")
    price: Price
    owner: str | None
    created_at: float


class PriceOverrides(Shown):
    data: list[PriceOverride]


class PriceDeletion(Shown):
    pattern: str
    models: list[str] = Field(description="Models whose price this was.")
    done: bool
