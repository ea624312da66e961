"""Which price is in force for a model: its own, a pattern's, 0 for what runs here, the packaged table's, or none."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import NamedTuple

from byom.catalog import amounts
from byom.catalog.state import ConnectionRow, ModelRow, PriceRow, State
from byom.types.usage import Price

LOCAL = Price(input=0, output=0, source="local")
LOCAL_KINDS = frozenset({"builtin", "weights"})
"""Kinds that always run on machines of the hub. Functions, plugins and classes may call a paid service themselves."""


class InForce(NamedTuple):
    price: Price | None
    pattern: str | None
    note: str
    """Why there is none, where there is none."""


def price_in_force(model: ModelRow, connection: ConnectionRow, state: State) -> InForce:
    """The price of each call to ``model`` from now on. Never 0 for a price that is not known."""
    if model.own_price is not None:
        return InForce(amounts.price_of(model.own_price, "model"), None, "")
    override = matching(model, state)
    if override is not None:
        return InForce(amounts.price_of(override.price, "user"), override.pattern, "")
    if connection.kind in LOCAL_KINDS:
        return InForce(LOCAL, None, "")
    if model.packaged is None or model.packaged.asked != question(model, connection):
        return InForce(None, None, "the packaged price table was not asked yet")
    return InForce(model.packaged.price, None, model.packaged.note)


def question(model: ModelRow, connection: ConnectionRow) -> str:
    """What the packaged table is asked: a price belongs to a model of one provider, told by its URL."""
    return f"{connection.url or connection.kind} {model.upstream_model}"


def matching(model: ModelRow, state: State) -> PriceRow | None:
    """The user's price for the model: an exact name first, then the pattern with the most literal characters."""
    for name in (model.name, model.upstream_model):
        if name in state.prices:
            return state.prices[name]
    found = [
        row
        for row in state.prices.values()
        if is_pattern(row.pattern)
        and any(re.match(translate(row.pattern), name) for name in (model.name, model.upstream_model))
    ]
    return max(found, key=lambda row: (len(re.sub(r"[*?]", "", row.pattern)), row.pattern), default=None)


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text
