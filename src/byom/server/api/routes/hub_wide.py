"""What concerns the hub as a whole: information, calls under way, byom.toml, the audit log, secrets."""

from __future__ import annotations

import platform
import time
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from byom import __version__
from byom.server.api.dependencies import CallerOf, HubOf
from byom.server.api.schemas import hub as schemas
from byom.server.api.schemas.fields import Filter

router = APIRouter(prefix="/api", tags=["hub"])
TOML = "application/toml"


@router.get("/info")
async def get_info(hub: HubOf) -> schemas.Info:
    catalog, state = hub.catalog, hub.catalog.state
    gauges = await hub.ledger_gauges()
    return schemas.Info(
        version=__version__,
        python=platform.python_version(),
        database="sqlite" if catalog.store.is_sqlite else "postgresql",
        auth=not hub.settings.no_auth,
        started_at=hub.started_at,
        uptime_seconds=round(time.time() - hub.started_at, 3),
        catalog_version=catalog.snapshot.version,
        connections=len(state.connections),
        models=len(state.models),
        users=len(state.users),
        keys=len(catalog.snapshot.keys),
        calls_under_way=len(await hub.calls_under_way()),
        ledger=schemas.LedgerState(
            accepting=gauges.accepting,
            lag=gauges.lag,
            rejected=gauges.rejected,
            spool_bytes=gauges.spool_bytes,
            failure=gauges.failure,
            days=hub.settings.ledger_days,
        ),
    )


@router.get("/live")
async def list_live_calls(hub: HubOf) -> schemas.LiveCalls:
    """The calls under way, in all processes of the hub."""
    return schemas.LiveCalls(data=[schemas.LiveCall.model_validate(one) for one in await hub.calls_under_way()])


@router.post("/apply")
async def apply_declaration(body: schemas.ApplyIn, hub: HubOf, caller: CallerOf) -> schemas.Plan:
    """Make the catalog as a byom.toml declares it: all of it or nothing. Applying it again changes nothing."""
    plan = await hub.catalog.apply(body.toml, actor=caller.actor, dry_run=body.dry_run, folder=body.folder)
    return schemas.Plan.of(plan)


@router.get("/export", response_class=Response, responses={200: {"content": {TOML: {"schema": {"type": "string"}}}}})
async def export_declaration(hub: HubOf) -> Response:
    """A byom.toml that declares what there is, without secrets."""
    return Response(hub.catalog.export(), media_type=TOML)


@router.get("/audit")
async def list_audit(
    hub: HubOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before.")] = None,
    kind: Annotated[Filter | None, Query()] = None,
    name: Annotated[Filter | None, Query()] = None,
) -> schemas.AuditLog:
    """Who changed what, newest first. Secrets are shown as hints."""
    found = await hub.catalog.audit.list(limit=limit + 1, before=before, kind=kind, name=name)
    entries = [schemas.AuditEntry.of(one) for one in found[:limit]]
    return schemas.AuditLog(data=entries, next=entries[-1].id if len(found) > limit else None)


@router.post("/secrets/rotate")
async def rotate_secrets(hub: HubOf, caller: CallerOf) -> schemas.Rotated:
    """Encrypt all stored secrets under a new key. Safe to interrupt."""
    return schemas.Rotated(rotated=await hub.catalog.rotate_secrets(actor=caller.actor))
