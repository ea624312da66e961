"""The user's own prices, by model name or pattern. They go before the packaged table's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from byom.catalog import amounts
from byom.catalog.edits import convert_form
from byom.catalog.forms import PriceForm
from byom.catalog.names import check_name
from byom.catalog.records import PriceOverride
from byom.catalog.state import PriceRow
from byom.catalog.transaction import Transaction
from byom.errors import NotFound

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class Prices:
    """``catalog.prices``"""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self) -> tuple[PriceOverride, ...]:
        return tuple(shown(row) for row in self._catalog.state.prices.values())

    async def put(self, pattern: str, form: PriceForm | Mapping[str, Any], *, actor: str) -> PriceOverride:
        """Set the price of all models whose name, or upstream's name, is or matches ``pattern`` (``*``, ``?``)."""
        price = form if isinstance(form, PriceForm) else convert_form(PriceForm, form, "price")
        async with self._catalog.change(actor) as tx:
            row = put(tx, pattern, price)
        return shown(row)

    async def delete(self, pattern: str, *, actor: str) -> None:
        """Take the price back. Raises `NotFound`."""
        async with self._catalog.change(actor) as tx:
            if tx.state.prices.pop(pattern, None) is None:
                raise NotFound(f"there is no price for {pattern!r}", code="price_not_found", param="pattern")


def put(tx: Transaction, pattern: str, price: PriceForm, owner: str | None = None) -> PriceRow:
    check_name("price", pattern)
    amounts.price_of(price)
    present = tx.state.prices.get(pattern)
    if present is not None and present.price == price:
        return present
    row = PriceRow(
        pattern=pattern,
        price=price,
        owner=owner if present is None else present.owner,
        created_at=tx.now if present is None else present.created_at,
    )
    tx.state.prices[pattern] = row
    return row


def shown(row: PriceRow) -> PriceOverride:
    return PriceOverride(pattern=row.pattern, price=row.price, owner=row.owner, created_at=row.created_at / 1e6)
