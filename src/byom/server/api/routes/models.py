"""``/api/models``"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from byom.catalog.edits import merge
from byom.catalog.snapshot import Route
from byom.errors import ByomError
from byom.server.api import probing
from byom.server.api.access import Caller
from byom.server.api.departure import while_there
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.problems import of_exception
from byom.server.api.schemas import model as schemas
from byom.server.api.schemas.fields import Filter
from byom.server.api.schemas.hub import Deletion
from byom.server.api.schemas.probe import AbilityReport, ProbePlan
from byom.server.api.services import Hub
from byom.server.api.standing import with_states
from byom.upstream.probe import Finding, Kind

router = APIRouter(prefix="/api/models", tags=["models"])
EVENT_STREAM = "text/event-stream"
KEEPALIVE_SECONDS = 15.0
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            EVENT_STREAM: {"schema": {"type": "string"}},
            "application/json": {"schema": {"$ref": "#/components/schemas/AbilityReport"}},
        },
        "description": "The report; as events `plan`, `finding` (one each), `report` or `error`, where asked for.",
    }
}


@router.get("")
async def list_models(
    hub: HubOf, connection: Annotated[Filter | None, Query(description="Only those of this connection.")] = None
) -> schemas.Models:
    found = [one for one in hub.catalog.models.list() if connection in (None, one.connection)]
    return schemas.Models(data=await with_states(hub, found))


@router.post("", status_code=201)
async def create_model(body: schemas.ModelIn, hub: HubOf, caller: CallerOf) -> schemas.Model:
    return schemas.Model.of(await hub.catalog.models.create(merge({}, body.fields()), actor=caller.actor))


@router.post("/{name:path}/probe", responses=_STREAMED, response_model=AbilityReport)
async def probe_model(
    name: str,
    request: Request,
    hub: HubOf,
    caller: CallerOf,
    spend: Annotated[
        bool, Query(description="Allow what the plan says; without it the answer is 409 with it.")
    ] = False,
    kind: Annotated[Kind, Query(description="What the model is for, where that is known.")] = "auto",
    timeout: Annotated[float, Query(gt=0, le=600, description="Seconds for each call.")] = probing.DEFAULT_TIMEOUT,
) -> AbilityReport | Response:
    """Find out what the model can do, by asking it, and keep what was found. Spends tokens."""
    plan = probing.plan_of(hub, name, kind)
    probing.require_consent(plan, spend=spend)
    route = probing.route_of(hub, name)
    if EVENT_STREAM in request.headers.get("accept", ""):
        events = _probe_events(hub, route, caller, plan, kind, timeout)
        return StreamingResponse(events, media_type=EVENT_STREAM)
    return await while_there(request, probing.run(hub, route, caller, kind=kind, timeout=timeout))


async def _probe_events(
    hub: Hub, route: Route, caller: Caller, plan: ProbePlan, kind: Kind, timeout: float
) -> AsyncIterator[bytes]:
    """Ends with ``report`` or ``error``. The probe stops when nobody reads any more."""
    news: asyncio.Queue[bytes | None] = asyncio.Queue()

    def progress(ability: str, finding: Finding) -> None:
        news.put_nowait(_event("finding", {"ability": ability, **msgspec.to_builtins(finding)}))

    work = asyncio.ensure_future(probing.run(hub, route, caller, kind=kind, timeout=timeout, progress=progress))
    work.add_done_callback(lambda _: news.put_nowait(None))
    try:
        yield _event("plan", plan.model_dump())
        while True:
            try:
                event = await asyncio.wait_for(news.get(), KEEPALIVE_SECONDS)
            except TimeoutError:
                event = b": still probing\n\n"
            if event is None:
                break
            yield event
        failure = work.exception()
        if failure is None:
            yield _event("report", work.result().model_dump(mode="json"))
            return
        known = of_exception(failure) if isinstance(failure, Exception) else None
        yield _event("error", (known or ByomError("A fault of the hub; its log has the details.")).body())
        if known is None:
            raise failure
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _event(name: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


@router.get("/{name:path}")
async def get_model(name: str, hub: HubOf) -> schemas.Model:
    """By its name or one of its aliases."""
    return (await with_states(hub, [hub.catalog.models.get(name)]))[0]


@router.patch("/{name:path}")
async def edit_model(name: str, body: schemas.ModelPatch, hub: HubOf, caller: CallerOf) -> schemas.Model:
    """Change some fields; `name` renames it, and fallbacks and restricted keys follow."""
    return schemas.Model.of(await hub.catalog.models.update(name, body.fields(), actor=caller.actor))


@router.delete("/{name:path}")
async def delete_model(name: str, hub: HubOf, caller: CallerOf, dry_run: DryRun = False) -> Deletion:
    return Deletion.of(await hub.catalog.models.delete(name, actor=caller.actor, dry_run=dry_run))
