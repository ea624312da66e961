"""``/api/settings``: those that take effect without a restart."""

from __future__ import annotations

from fastapi import APIRouter

from byom.server.api.dependencies import CallerOf, HubOf
from byom.server.api.schemas import settings as schemas

router = APIRouter(prefix="/api/settings", tags=["settings"])


@router.get("")
async def get_settings(hub: HubOf) -> schemas.LiveSettings:
    return schemas.LiveSettings.of(hub.catalog.settings.get())


@router.patch("")
async def edit_settings(body: schemas.SettingsPatch, hub: HubOf, caller: CallerOf) -> schemas.LiveSettings:
    return schemas.LiveSettings.of(await hub.catalog.settings.update(body.fields(), actor=caller.actor))
