"""``/v1/model_registrations``: the specs that can be launched."""

from __future__ import annotations

from collections import Counter
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
    """By lower-case name, those that come with the hub among them."""
    kind = request.places[0]
    if request.query.get("detailed", "").lower() != "true":
        return Json([_named(spec) for spec in await services.launching.specs(kind)])
    cached = {(one.model_name, one.format, one.quantization) for one in await services.launching.cached()}
    running = Counter(run.model_name for run in await services.running() if run.state != "failed")
    specs = await services.launching.specs(kind, detailed=True)
    return Json([_detailed(spec, running[spec["model_name"]], cached) for spec in specs])


async def get_registration(services: Services, request: Request) -> Json:
    kind, name = request.places
    return Json({**await services.launching.spec(kind, name), "model_type": kind})


def _named(spec: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": spec["model_name"], "is_builtin": spec["is_builtin"]}


def _detailed(spec: dict[str, Any], running: int, cached: set[tuple[str, str, str]]) -> dict[str, Any]:
    variants = [_with_cache(spec["model_name"], one, cached) for one in spec["model_specs"]]
    hubs = list(dict.fromkeys(one.get("model_hub") or "huggingface" for one in variants))
    more = {"model_version_count": len(variants), "model_instance_count": running, "download_hubs": hubs}
    return {**spec, "model_specs": variants, **more}


def _with_cache(name: str, variant: dict[str, Any], cached: set[tuple[str, str, str]]) -> dict[str, Any]:
    """``cache_status``: one truth for each quantization, of a format that has several files."""
    quantizations = variant.get("quantizations") or [variant.get("quantization", "none")]
    there = [(name, variant["model_format"], one) in cached for one in quantizations]
    return {**variant, "cache_status": there if variant["model_format"] == "ggufv2" else all(there)}
