"""``/v1/cache/models``: weights that were fetched and are on this machine's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.errors import BadRequest, Conflict
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services
    from byom.server.launching.records import Cached


async def list_models(services: Services, request: Request) -> Json:
    name = request.query.get("model_name")
    found = [_item(services, one) for one in await services.launching.cached() if name in (None, "", one.model_name)]
    return Json({"list": found})


async def list_files(services: Services, request: Request) -> Json:
    """What `remove` would delete."""
    version, found = await _named(services, request)
    return Json({"model_version": version, "worker_ip": services.address, "paths": [one.path for one in found]})


async def remove(services: Services, request: Request) -> Json:
    version, found = await _named(services, request)
    used = next((one for one in found if one.in_use), None)
    if used is not None:
        raise Conflict(f"{version} is in use by a model that runs. Terminate that first.", param="model_version")
    for one in found:
        await services.launching.remove_cached(one.path)
    return Json({"result": bool(found)})


async def _named(services: Services, request: Request) -> tuple[str, list[Cached]]:
    version = request.query.get("model_version", "")
    if not version:
        raise BadRequest(
            "Say in 'model_version' which weights, as the list of cached models has it.", param="model_version"
        )
    return version, [one for one in await services.launching.cached() if version in (one.model_version, one.model_name)]


def _item(services: Services, one: Cached) -> dict[str, Any]:
    return {
        "model_name": one.model_name,
        "model_type": one.model_type,
        "model_size_in_billions": one.size,
        "model_format": one.format,
        "quantization": one.quantization,
        "model_version": one.model_version,
        "path": one.path,
        "real_path": one.path,
        "actor_ip_address": services.address,
        "size_bytes": one.bytes,
    }
