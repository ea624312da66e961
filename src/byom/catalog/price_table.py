"""The packaged price table (genai-prices): asked when a model is connected, never on a call. Works offline.

Its import costs about 0.2 s, so it happens where it is needed and off the event loop.
"""

from __future__ import annotations

import importlib.metadata
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from byom.catalog.state import PackagedPrice
from byom.types.usage import Price, PriceTier, per_million, to_pico

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

TABLE = "genai-prices"
_TOKENS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
_SAME_AS = {
    "output_reasoning_mtok": "output_mtok",
    "input_image_mtok": "input_mtok",
    "output_image_mtok": "output_mtok",
    "input_video_mtok": "input_mtok",
    "output_video_mtok": "output_mtok",
}
"""Classes of tokens that are not counted apart: no matter where they cost as much as the class they are counted in."""
_APART = {
    "cache_audio_read_mtok": "cached audio is counted like cached text",
    "cache_image_read_mtok": "cached images are counted like cached text",
    "web_searches_kcount": "web searches are charged in addition and are not counted",
    "storage_searches_kcount": "searches of stored files are charged in addition and are not counted",
    "cache_write_1h_mtok": "one-hour cache writes are counted like five-minute ones",
}


class _Inexpressible(Exception):
    """The table's price has a part that a price per token cannot say."""


@cache
def version() -> str:
    """The table's name and version, as each ledger row keeps it."""
    return f"{TABLE}@{importlib.metadata.version(TABLE)}"


def look_up(url: str | None, upstream_model: str, asked: str, now: datetime | None = None) -> PackagedPrice:
    """The table's price of a model at the provider with this URL; the note says why there is none.

    A model's name alone tells no price: the same weights cost something else elsewhere, and nothing at home.
    """
    now = now or datetime.now(UTC)
    found = None if url is None else _find(url, upstream_model)
    if found is None:
        return PackagedPrice(
            price=None,
            note="the packaged price table does not know this model at this host",
            version=version(),
            asked=asked,
        )
    _, model = found
    try:
        price, note = _price(_prices_now(model, now), model)
    except _Inexpressible as error:
        price, note = None, f"the packaged table's price cannot be counted by tokens: {error}"
    return PackagedPrice(price=price, note=note, version=version(), until=_next_change(model, now), asked=asked)


def _find(url: str, upstream_model: str) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(upstream_model, None, None, url)
    except LookupError:
        return None


def _prices_now(model: ModelInfo, now: datetime) -> ModelPrice:
    from genai_prices.types import TimeOfDateConstraint

    if isinstance(model.prices, list):
        if any(isinstance(conditional.constraint, TimeOfDateConstraint) for conditional in model.prices):
            raise _Inexpressible("it changes with the time of day")
        if not model.prices:
            raise _Inexpressible("it is empty")
    return model.get_prices(now)


def _price(prices: ModelPrice, model: ModelInfo) -> tuple[Price, str]:
    """The price with its tiers, and what it leaves out."""
    from genai_prices.types import TieredPrices

    given: dict[str, Any] = {name: value for name, value in vars(prices).items() if value is not None}
    tiered = [value for value in given.values() if isinstance(value, TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    base = _flat({name: _at(value, 0) for name, value in given.items()}, model)
    tiers = tuple(
        PriceTier(above=start, price=_flat({name: _at(value, start + 1) for name, value in given.items()}, model))
        for start in starts
    )
    notes = [_APART[name] for name in sorted(_APART.keys() & given.keys())]
    return msgspec.structs.replace(base, tiers=tiers), "; ".join(notes)


def _at(value: Any, prompt_tokens: int) -> Decimal:
    """The amount for a prompt of this length: one price for all its tokens, no sum of brackets."""
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    amount: Decimal = reached[-1] if reached else value.base
    return amount


def _flat(given: dict[str, Decimal], model: ModelInfo) -> Price:
    parts: dict[str, Any] = {}
    for name, value in given.items():
        if name in _TOKENS:
            parts[_TOKENS[name]] = _whole(value)
        elif name in _SAME_AS:
            if value != given.get(_SAME_AS[name]):
                raise _Inexpressible(f"it has a class of tokens of its own ({name})")
        elif name == "requests_kcount":
            parts["request"] = to_pico(value / 1000)
        elif name not in _APART:
            raise _Inexpressible(f"it is not by tokens ({name})")
    if "input" not in parts:
        raise _Inexpressible("there is no price for the prompt's tokens")
    if "output" not in parts:
        if not _answers_without_tokens(model.id):
            raise _Inexpressible("there is no price for the answer's tokens")
        parts["output"] = 0
    return Price(**parts, source=TABLE, version=version())


def _answers_without_tokens(model_id: str) -> bool:
    """Embedding and reranking models: their answers hold no tokens that could cost anything."""
    name = model_id.lower()
    return any(word in name for word in ("embed", "rerank", "voyage", "bge-", "gte-", "e5-", "moderation"))


def _whole(dollars: Decimal) -> int:
    try:
        return per_million(dollars)
    except ValueError as error:
        raise _Inexpressible(str(error)) from error


def _next_change(model: ModelInfo, now: datetime) -> float | None:
    """When a price that the table already holds comes into force; seconds since the epoch."""
    from genai_prices.types import StartDateConstraint

    if not isinstance(model.prices, list):
        return None
    starts = [
        datetime.combine(conditional.constraint.start_date, datetime.min.time(), UTC)
        for conditional in model.prices
        if isinstance(conditional.constraint, StartDateConstraint)
    ]
    return min((start.timestamp() for start in starts if start > now), default=None)
