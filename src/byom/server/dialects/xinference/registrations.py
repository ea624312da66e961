"""``/v1/model_registrations``: the specs that can be launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import BadRequest
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services


async def register(services: Services, request: Request) -> Json:
    """``model`` is the spec as JSON text; as an object it is taken too. ``worker_ip``: there is one place, the hub."""
    fields = request.fields()
    spec = fields.get("model")
    if not isinstance(spec, str | dict):
        raise BadRequest("The request has no spec: 'model' is the spec as JSON text.", param="model")
    persist = fields.get("persist", True)
    if not isinstance(persist, bool):
        raise BadRequest("'persist' is true or false.", param="persist")
    text = spec if isinstance(spec, str) else msgspec.json.encode(spec).decode()
    await services.launching.register(text, type=request.places[0], persist=persist)
    return Json()


async def unregister(services: Services, request: Request) -> Json:
    """What runs of it runs on. An unknown name is no error, as with Xinference."""
    kind, name = request.places
    await services.launching.unregister(kind, name)
    return Json()


async def list_registrations(services: Services, request: Request) -> Json:
    detailed = request.query.get("detailed", "").lower() == "true"
    return Json(await services.launching.specs(request.places[0], detailed=detailed))


async def get_registration(services: Services, request: Request) -> Json:
    kind, name = request.places
    return Json(await services.launching.spec(kind, name))


def summary(spec: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": spec["model_name"], "is_builtin": bool(spec.get("is_builtin"))}
