"""What the hub says of a call in the headers of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import msgspec

REQUEST_ID = "x-request-id"
COST = "x-byom-cost"
"""Dollars, as a decimal number; missing where the price is not known, and on answers that are streamed."""


class Told(msgspec.Struct, frozen=True):
    request_id: str = ""
    cost: Decimal | None = None


def told(headers: Mapping[str, str]) -> Told:
    """``headers`` must look names up without regard to case."""
    return Told(headers.get(REQUEST_ID, ""), _dollars(headers.get(COST)))


def _dollars(text: str | None) -> Decimal | None:
    """``None`` for what is no amount: a cost that is not certain is not told."""
    try:
        amount = None if text is None else Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() and amount >= 0 else None
