"""Connections, as far as clients look at them; ``byom connect`` and the management API make and change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from byom.server.dialects.dataiku.failure import Failure
from byom.server.dialects.dataiku.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.dataiku.services import Services

TYPE = "CustomLLM"


async def list_connections(services: Services, request: Request) -> Json:
    """For administrators: each by its name. Secrets are not in it."""
    reply = await services.calls.ask(request, "GET", "/api/connections")
    return Json({one["name"]: _definition(one) for one in reply.data.get("data", ())})


async def get_connection(services: Services, request: Request) -> Json:
    return Json(_definition(await _stored(services, request)))


async def info(services: Services, request: Request) -> Json:
    stored = await _stored(services, request)
    return Json({**_definition(stored), "resolvedParams": _params(stored)})


async def names(services: Services, request: Request) -> Json:
    """Those that have a model which the caller may use."""
    wanted = request.query.get("type") or "all"
    allowed = request.caller.models if request.caller is not None else None
    usable = [route.connection for route in services.snapshot.models if allowed is None or route.name in allowed]
    return Json(list(dict.fromkeys(usable)) if wanted in ("all", TYPE) else [])


async def test(services: Services, request: Request) -> Json:
    """For administrators: asks the model's server now."""
    try:
        reply = await services.calls.ask(request, "POST", f"{_path(request)}/check")
    except Failure as failure:
        if failure.status in (401, 403, 404):
            raise
        return Json({"connectionOK": False, "connectionErrorMsg": failure.message})
    wrong = [one for one in reply.data.get("problems") or () if one.get("level") == "error"]
    found: dict[str, Any] = {"connectionOK": not wrong}
    if wrong:
        found["connectionErrorMsg"] = " ".join(f"{one['message']} {one['hint']}".strip() for one in wrong)
    return Json(found)


async def _stored(services: Services, request: Request) -> dict[str, Any]:
    return (await services.calls.ask(request, "GET", _path(request))).data


def _path(request: Request) -> str:
    return f"/api/connections/{quote(request.places[0], safe='')}"


def _definition(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": stored["name"],
        "type": TYPE,
        "params": _params(stored),
        "credentialsMode": "GLOBAL",
        "usableBy": "ALL",
        "allowedGroups": [],
    }


def _params(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: stored[name] for name in ("kind", "url") if stored.get(name)}
