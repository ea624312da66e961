"""More and fewer processes for a model that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.errors import BadRequest, NotFound
from byom.server.dialects.xinference.launches import replica_uid
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.services import Services
    from byom.server.launching.records import Replica


async def add(services: Services, request: Request) -> Json:
    """Answers when they are ready: one replica as itself, several as a list."""
    run = await services.get(request.places[0])
    fields = {name: value for name, value in request.fields().items() if value is not None}
    _check(fields, run.engine, run.n_gpu)
    entries = fields.get("replica_config")
    count = len(entries) if isinstance(entries, list) else fields.get("replica", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadRequest("replica: give how many to add, 1 or more.", param="replica")
    before = {one.id for one in run.replicas}
    now = await services.launching.scale(run.uid, run.wanted_replicas + count, actor=request.actor)
    new = [_added(run.uid, one) for one in now.replicas if one.id not in before]
    if count == 1 and len(new) == 1:
        return Json(new[0])
    return Json({"replica": len(new), "replicas": new})


async def remove(services: Services, request: Request) -> Json:
    """The last one is not removed: that is what terminating is for."""
    uid, number = request.places
    run = await services.get(uid)
    known = [one.id for one in run.replicas]
    if not number.isdecimal() or int(number) not in known:
        there = ", ".join(map(str, known)) or "none"
        raise NotFound(f"The model {run.uid} has no replica {number[:20]}; there are {there}.", param="replica_id")
    if len(known) == 1:
        raise BadRequest(f"This is the only replica of {run.uid}. Terminate the model instead.", param="replica_id")
    left = await services.launching.remove_replica(run.uid, int(number), actor=request.actor)
    return Json({"remaining_replicas": left})


def _check(fields: dict[str, Any], engine: str, n_gpu: int | str | None) -> None:
    """Replicas of one model are alike."""
    asked = fields.get("model_engine")
    if asked is not None and str(asked).lower() != engine.lower():
        raise BadRequest(f"model_engine: the replicas of this model run on {engine}.", param="model_engine")
    if "n_gpu" in fields and fields["n_gpu"] not in ("auto", n_gpu):
        raise BadRequest(f"n_gpu: the replicas of this model have {n_gpu}.", param="n_gpu")


def _added(uid: str, one: Replica) -> dict[str, Any]:
    return {"replica_id": one.id, "replica_model_uid": replica_uid(uid, one), "worker_address": one.address}
