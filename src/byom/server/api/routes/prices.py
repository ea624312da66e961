"""``/api/prices``: the user's own, which go before those of the packaged table."""

from __future__ import annotations

from fastapi import APIRouter

from byom.catalog.edits import merge
from byom.errors import NotFound
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.schemas import price as schemas
from byom.server.api.schemas.policies import PriceIn

router = APIRouter(prefix="/api/prices", tags=["prices"])


@router.get("")
async def list_prices(hub: HubOf) -> schemas.PriceOverrides:
    return schemas.PriceOverrides(data=[schemas.PriceOverride.of(one) for one in hub.catalog.prices.list()])


@router.put("/{pattern:path}")
async def put_price(pattern: str, body: PriceIn, hub: HubOf, caller: CallerOf) -> schemas.PriceOverride:
    """Set the price of all models whose name, or server's name, is or matches the pattern (`*`, `?`)."""
    price = await hub.catalog.prices.put(pattern, merge({}, body.fields()), actor=caller.actor)
    return schemas.PriceOverride.of(price)


@router.delete("/{pattern:path}")
async def delete_price(pattern: str, hub: HubOf, caller: CallerOf, dry_run: DryRun = False) -> schemas.PriceDeletion:
    """Take a price back. The answer names the models whose price it was."""
    if all(one.pattern != pattern for one in hub.catalog.prices.list()):
        raise NotFound("there is no price for this pattern", code="price_not_found", param="pattern")
    found = [model for model in hub.catalog.models.list() if model.price is not None]
    named = [one.name for one in found if one.price is not None and one.price.source == "user"
             and pattern in (one.price.pattern, one.name, one.upstream_model)]  # fmt: skip
    if not dry_run:
        await hub.catalog.prices.delete(pattern, actor=caller.actor)
    return schemas.PriceDeletion(pattern=pattern, models=named, done=not dry_run)
