"""Launching, watching and stopping models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byom.server.dialects.xinference import launch_fields
from byom.server.dialects.xinference.request import Json, Request

if TYPE_CHECKING:
    from byom.server.dialects.xinference.launch_fields import Launch
    from byom.server.dialects.xinference.services import Services
    from byom.server.launching.records import Replica, Running, Stage

_STAGES = {"queued": "pending", "downloading": "downloading", "loading": "loading"}
_STATUS = {
    "queued": "CREATING",
    "downloading": "CREATING",
    "loading": "LOADING",
    "ready": "READY",
    "unloaded": "READY",
    "failed": "ERROR",
    "stopping": "TERMINATING",
}
"""An unloaded model is ready in the eyes of a client: its next call loads it."""
_REPLICA_STATE = {
    "starting": "loading",
    "ready": "ready",
    "restarting": "loading",
    "failed": "error",
    "stopping": "stopping",
}


async def launch(services: Services, request: Request) -> Json:
    """Answers when the model is ready; with ``wait_ready=false`` at once. A caller who leaves does not stop it."""
    asked = launch_fields.read(request.fields(), services.address)
    wait = request.query.get("wait_ready", "true").lower() != "false"
    return Json({"model_uid": await services.see_through(_launched(services, asked, request.actor, wait=wait))})


async def _launched(services: Services, asked: Launch, actor: str, *, wait: bool) -> str:
    uid: str = await services.launching.launch(asked.request, wait=wait, actor=actor)
    if asked.most_calls is not None:
        limits = {"limits": {"concurrency": asked.most_calls}}
        await services.hub.catalog.models.update(uid, limits, actor=actor)
    return uid


async def terminate(services: Services, request: Request) -> Json:
    uid = (await services.get(request.places[0])).uid
    await services.launching.terminate(uid, actor=request.actor)
    return Json()


async def cancel(services: Services, request: Request) -> Json:
    """Of a model that is ready it is refused: that is what terminating is for."""
    await services.launching.cancel(request.places[0], actor=request.actor)
    return Json()


async def progress(services: Services, request: Request) -> Json:
    """An unknown uid is one whose launch has not begun: clients ask before it has."""
    run = await services.find(request.places[0])
    if run is None:
        return Json({"progress": 0.0, "stage": "pending", "download_files": [], "replicas": []})
    stage, done = _STAGES.get(run.state, "launching"), _done(run)
    files = _files(run.stage)
    replicas = [
        {
            "replica_id": one.id,
            "replica_model_uid": replica_uid(run.uid, one),
            "progress": 1.0 if one.state == "ready" else done,
            "stage": "launching" if one.state == "ready" else stage,
            "info": one.reason or run.stage.text,
            "updated_at": one.since or run.stage.at,
            "download_files": files,
        }
        for one in run.replicas
    ]
    return Json({"progress": done, "stage": stage, "download_files": files, "replicas": replicas})


def _done(run: Running) -> float:
    return 1.0 if run.state in ("ready", "unloaded") else round(run.stage.fraction, 4)


def _files(stage: Stage) -> list[dict[str, Any]]:
    return [
        {
            "filename": file.name,
            "downloaded_size": file.done,
            "total_size": file.total,
            "progress": min(1.0, file.done / file.total) if file.total else 0.0,
        }
        for file in stage.files
    ]


async def instances(services: Services, request: Request) -> Json:
    """Every launched model, those on their way and those that failed included."""
    name, uid = request.query.get("model_name"), request.query.get("model_uid")
    runs = await services.running()
    return Json([_instance(run) for run in runs if name in (None, "", run.model_name) and uid in (None, "", run.uid)])


def _instance(run: Running) -> dict[str, Any]:
    return {
        "model_name": run.model_name,
        "model_uid": run.uid,
        "model_version": _version(run),
        "model_ability": run.abilities,
        "replica": run.wanted_replicas,
        "status": _STATUS[run.state],
        "instance_created_ts": int(run.created_at),
        "n_worker": 1,
        "error_message": run.reason,
        "replica_statuses": [_replica(run, one) for one in run.replicas],
    }


def replica_uid(uid: str, one: Replica) -> str:
    return f"{uid}-rep{one.id}"


def _version(run: Running) -> str:
    size = f"{run.size}B" if run.size else "B"
    return f"{run.model_name}--{size}--{run.format}--{run.quantization}"


def _replica(run: Running, one: Replica) -> dict[str, Any]:
    address = f"{one.address}:{one.port}" if one.port else one.address
    return {
        "replica_id": one.id,
        "replica_model_uid": replica_uid(run.uid, one),
        "replica_uid": replica_uid(run.uid, one),
        "worker_address": one.address,
        "model_address": address,
        "accelerators": [str(gpu) for gpu in one.gpus],
        "gpu_idx": one.gpus,
        "model_state": _REPLICA_STATE[one.state],
        "status": _REPLICA_STATE[one.state].upper(),
        "created_ts": int(one.since),
        "error_message": one.reason,
    }


async def events(services: Services, request: Request) -> Json:
    """What has happened since the last load began."""
    _, stages = await services.launching.progress(request.places[0])
    return Json([{"event_type": "INFO", "event_ts": int(one.at), "event_content": one.text} for one in stages])


async def list_replicas(services: Services, request: Request) -> Json:
    run = await services.get(request.places[0])
    return Json([_replica(run, one) for one in run.replicas])
