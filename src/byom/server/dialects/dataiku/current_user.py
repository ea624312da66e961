"""``/current-user``: who the caller is, and the credentials of their own that plugins ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.dataiku import credentials
from byom.server.dialects.dataiku.failure import not_served
from byom.server.dialects.dataiku.instance import groups_of, login_of
from byom.server.dialects.dataiku.request import Json, Request, mapping

if TYPE_CHECKING:
    from byom.server.dialects.dataiku.services import Services


async def show(services: Services, request: Request) -> Json:
    return Json(_settings(services, request))


async def save(services: Services, request: Request) -> Json:
    """Keeps the credentials, and refuses what would not be kept."""
    fields = request.fields()
    if fields.get("secrets"):
        raise not_served("The request saves secrets of the user.")
    await credentials.save(services.hub, request.caller, mapping(fields.get("credentials"), "credentials"))
    return Json(_settings(services, request))


def _settings(services: Services, request: Request) -> dict[str, Any]:
    login = login_of(request)
    return {
        "login": login,
        "displayName": login,
        "enabled": True,
        "groups": groups_of(request),
        "credentials": credentials.shown(services.hub, request.caller),
        "secrets": [],
        "userProperties": {},
    }
