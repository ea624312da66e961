"""From a cost in dollars per token to a price."""

from __future__ import annotations

import hashlib
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from byom.host.worker.contracts.results import dollars_per_token
from byom.types.usage import PICO, Price


def price_of_cost(cost: Any, *, embedding: bool) -> Price | None:
    """The price that ``(input, output)``, or one number, in dollars per token means; ``None`` where it is ``None``.

    One number is the price of an embedding's input, and of both sides of a chat. Raises `ValueError`.
    """
    amounts = dollars_per_token(cost)
    if amounts is None:
        return None
    given, answered = amounts
    if answered is None:
        answered = Decimal(0) if embedding else given
    parts = _pico(given), _pico(answered)
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    return Price(input=parts[0], output=parts[1], source="model", version=f"user:{digest}")


def _pico(dollars: Decimal) -> int:
    """The nearest whole number: a float such as ``0.15 / 1_000_000`` is not exact."""
    amount = dollars * PICO
    whole = int(amount.to_integral_value(ROUND_HALF_EVEN))
    if not whole and amount:
        raise ValueError(f"{dollars} dollars per token is less than a picodollar")
    return whole


def packaged_price(base_url: str, name: str) -> Price | None:
    """The packaged table's price of a model at this server; ``None`` where it does not know one."""
    from byom.catalog.price_table import look_up

    return look_up(base_url, name, "").price


def packaged_context_window(base_url: str, name: str) -> int | None:
    """As `packaged_price`: tokens."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, model = get_snapshot().find_provider_model(name, None, None, base_url)
    except LookupError:
        return None
    return model.context_window
