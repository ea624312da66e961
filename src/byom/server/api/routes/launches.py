"""Launched models: ``/api/launches``, and what launching needs: ``/api/engines``, ``/api/cached``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from byom.server.api.dependencies import CallerOf, HubOf
from byom.server.api.event_stream import Tell, answer, streamed
from byom.server.api.schemas import launch as schemas
from byom.server.launching import request as requests
from byom.server.launching.records import Stage
from byom.server.log_file import follow, last_lines

router = APIRouter(prefix="/api", tags=["launches"])
TEXT = "text/plain; charset=utf-8"
_LOG: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
Drain = Annotated[float, Query(ge=0, le=3600, description="Seconds that calls under way may go on.")]


@router.get("/launches")
async def list_launches(hub: HubOf) -> schemas.LaunchedList:
    """Everything that is launched, and what failed in the last hour."""
    return schemas.LaunchedList(data=[schemas.Launched.of(one) for one in await hub.launching.running()])


@router.post("/launches", status_code=201, responses=streamed("Launched", 201), response_model=schemas.Launched)
async def launch(body: schemas.StartIn, request: Request, hub: HubOf, caller: CallerOf) -> Any:
    """Launch a registered model: fetch its weights where that is needed, and start its engine.

    With `Accept: text/event-stream` the answer tells how far it is: events `stage`, and then `report` or `error`. Who
    leaves before it is ready cancels it. A launch that fails leaves nothing.
    """
    asked = requests.of(body.fields(without=frozenset({"wait"})))

    async def work(tell: Tell) -> schemas.Launched:
        def progress(stage: Stage) -> None:
            tell("stage", msgspec.to_builtins(stage))

        uid = await hub.launching.launch(asked, wait=body.wait, progress=progress, actor=caller.actor)
        return schemas.Launched.of(await hub.launching.get(uid))

    return await answer(request, work)


@router.post("/launches/explain")
async def explain_launch(body: schemas.LaunchIn, hub: HubOf) -> schemas.Explanation:
    """What would be launched, and why. Nothing is started."""
    plan = await hub.launching.explain(requests.of(body.fields()))
    return schemas.Explanation(
        uid=plan.uid, engine=plan.engine, format=plan.variant["format"], size=plan.variant.get("size"),
        quantization=plan.variant.get("quantization", "none"), reasons=plan.reasons, notes=plan.notes,
        abilities=plan.abilities, context_length=plan.context_length, engine_arguments=plan.request.engine_arguments,
    )  # fmt: skip


@router.get("/launches/{uid}")
async def get_launch(uid: str, hub: HubOf) -> schemas.Launched:
    return schemas.Launched.of(await hub.launching.get(uid))


@router.get("/launches/{uid}/progress")
async def launch_progress(uid: str, hub: HubOf) -> schemas.Progress:
    """How much of a launch is done, and its stages until now."""
    fraction, stages = await hub.launching.progress(uid)
    return schemas.Progress(fraction=fraction, stages=[schemas.Stage.of(one) for one in stages])


@router.delete("/launches/{uid}", status_code=204)
async def stop_launch(uid: str, hub: HubOf, caller: CallerOf, drain: Drain = 0.0) -> None:
    """Stop it, at any stage. Answers when nothing of it is left."""
    await hub.launching.terminate(uid, drain_seconds=drain, actor=caller.actor)


@router.post("/launches/{uid}/cancel", status_code=204)
async def cancel_launch(uid: str, hub: HubOf, caller: CallerOf) -> None:
    """Stop it if it is on its way; one that is ready is left alone."""
    await hub.launching.cancel(uid, actor=caller.actor)


@router.post("/launches/{uid}/unload")
async def unload(uid: str, hub: HubOf) -> schemas.Launched:
    """End its processes. The next call starts them again."""
    await hub.launching.unload(uid)
    return schemas.Launched.of(await hub.launching.get(uid))


@router.post("/launches/{uid}/load")
async def load(uid: str, hub: HubOf) -> schemas.Launched:
    """Start its processes where they do not run. Answers when it serves."""
    await hub.launching.load(uid)
    return schemas.Launched.of(await hub.launching.get(uid))


@router.put("/launches/{uid}/replicas")
async def set_replicas(uid: str, body: schemas.ReplicasIn, hub: HubOf, caller: CallerOf) -> schemas.Launched:
    """Have so many replicas. Answers when they are ready."""
    return schemas.Launched.of(await hub.launching.scale(uid, body.replicas, actor=caller.actor))


@router.delete("/launches/{uid}/replicas/{replica}", status_code=204)
async def remove_replica(uid: str, replica: int, hub: HubOf, caller: CallerOf) -> None:
    await hub.launching.remove_replica(uid, replica, actor=caller.actor)


@router.get("/launches/{uid}/logs", response_class=Response, responses=_LOG)
async def launch_logs(
    uid: str,
    hub: HubOf,
    replica: Annotated[
        int | None, Query(ge=0, le=1_000_000, description="By default what concerns the launch, and all replicas.")
    ] = None,
    lines: Annotated[int, Query(ge=0, le=100_000, description="So many of the last lines.")] = 200,
    follow_: Annotated[bool, Query(alias="follow", description="Go on with what comes, until you leave.")] = False,
) -> Response:
    """What an engine has written."""
    await hub.launching.get(uid)
    path = hub.launching.log_file(uid, replica)
    if follow_:
        return StreamingResponse(follow(path, lines), media_type=TEXT)
    return StreamingResponse(_once(path, lines), media_type=TEXT)


async def _once(path: Path, lines: int) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(last_lines, path, lines)


@router.get("/engines")
async def list_engines(hub: HubOf) -> schemas.Engines:
    """What can serve weights on this machine, and what to install for the rest."""
    return schemas.Engines(data=[schemas.Engine.of(one) for one in await hub.launching.engines()])


@router.get("/cached")
async def list_cached(hub: HubOf) -> schemas.CachedList:
    """Weights that were fetched."""
    return schemas.CachedList(data=[schemas.CachedWeights.of(one) for one in await hub.launching.cached()])


@router.delete("/cached", status_code=204)
async def remove_cached(path: Annotated[str, Query(min_length=1, max_length=4096)], hub: HubOf) -> None:
    """Remove weights that were fetched; they are fetched again when they are needed."""
    await hub.launching.remove_cached(path)
