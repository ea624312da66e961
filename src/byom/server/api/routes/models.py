"""``/api/models``"""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from byom.catalog.edits import merge
from byom.server.api import event_stream, probing
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.schemas import model as schemas
from byom.server.api.schemas.fields import Filter
from byom.server.api.schemas.hub import Deletion
from byom.server.api.schemas.probe import AbilityReport
from byom.server.api.standing import with_states
from byom.upstream.probe import Finding, Kind

router = APIRouter(prefix="/api/models", tags=["models"])


@router.get("")
async def list_models(
    hub: HubOf, connection: Annotated[Filter | None, Query(description="Only those of this connection.")] = None
) -> schemas.Models:
    found = [one for one in hub.catalog.models.list() if connection in (None, one.connection)]
    return schemas.Models(data=await with_states(hub, found))


@router.post("", status_code=201)
async def create_model(body: schemas.ModelIn, hub: HubOf, caller: CallerOf) -> schemas.Model:
    return schemas.Model.of(await hub.catalog.models.create(merge({}, body.fields()), actor=caller.actor))


@router.post("/{name:path}/probe", responses=event_stream.streamed("AbilityReport"), response_model=AbilityReport)
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
    """Find out what the model can do, by asking it, and keep what was found. Spends tokens.

    As events: `plan`, then a `finding` for each ability.
    """
    plan = probing.plan_of(hub, name, kind)
    probing.require_consent(plan, spend=spend)
    route = probing.route_of(hub, name)

    async def work(tell: event_stream.Tell) -> AbilityReport:
        def progress(ability: str, finding: Finding) -> None:
            tell("finding", {"ability": ability, **msgspec.to_builtins(finding)})

        tell("plan", plan.model_dump())
        return await probing.run(hub, route, caller, kind=kind, timeout=timeout, progress=progress)

    return await event_stream.answer(request, work)


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
