"""``/api/connections``"""

from __future__ import annotations

from fastapi import APIRouter

from byom.errors import ByomError, UnprocessableRequest, UpstreamError
from byom.server.api import code_state, connecting, probing
from byom.server.api.access import Caller
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.examination import candidate_of, examine, first_error, of_stored
from byom.server.api.schemas import check as checks
from byom.server.api.schemas import code as codes
from byom.server.api.schemas import connection as schemas
from byom.server.api.schemas.fields import Error
from byom.server.api.schemas.hub import Deletion
from byom.server.api.schemas.model import Model
from byom.server.api.schemas.probe import ProbeOutcome
from byom.server.api.services import Hub

router = APIRouter(prefix="/api/connections", tags=["connections"])


@router.get("")
async def list_connections(hub: HubOf) -> schemas.Connections:
    return schemas.Connections(data=[schemas.Connection.of(one) for one in hub.catalog.connections.list()])


@router.post("", status_code=201)
async def create_connection(body: schemas.ConnectionIn, hub: HubOf, caller: CallerOf) -> schemas.CreatedConnection:
    """Check a server, save it, and add models of it, all or nothing.

    A connection that does not work is refused with what is wrong and what to do, unless `save_anyway` is set.
    """
    if body.probe and body.models == "all":
        raise UnprocessableRequest("Name the models to probe: probing all of them could be expensive.", param="probe")
    saved = await connecting.create(hub, body, caller.actor)
    probes = [await _probe(hub, model.name, caller) for model in saved.models] if body.probe else []
    return schemas.CreatedConnection(
        connection=schemas.Connection.of(saved.connection),
        models=[Model.of(hub.catalog.models.get(model.name)) for model in saved.models],
        skipped=list(saved.skipped),
        check=None if saved.report is None else checks.CheckReport.from_report(saved.report),
        probes=probes,
    )


async def _probe(hub: Hub, name: str, caller: Caller) -> ProbeOutcome:
    """The connection is saved already, so a probe that fails is told and not raised."""
    try:
        report = await probing.run(hub, probing.route_of(hub, name), caller)
    except ByomError as error:
        told = Error(message=error.message, type=error.type, param=error.param, code=error.code)
        return ProbeOutcome(model=name, error=told)
    return ProbeOutcome(model=name, report=report)


@router.post("/check")
async def check_connection(body: checks.CheckIn, hub: HubOf) -> checks.CheckReport:
    """Check a server without saving anything. What is wrong is in `problems`."""
    key = None if body.key is None else body.key.get_secret_value()
    candidate = candidate_of(body.url, key, body.headers, verify_tls=body.verify_tls, ca_file=body.ca_file)
    report = await examine(hub, candidate, body.models, timeout=body.timeout, allow_spend=body.allow_spend)
    return checks.CheckReport.from_report(report)


@router.get("/{name}")
async def get_connection(name: str, hub: HubOf) -> codes.ConnectionNow:
    """With the state of its process, where its models are code."""
    found = hub.catalog.connections.get(name)
    host = await code_state.of(hub, name) if found.kind == "code" else None
    return codes.ConnectionNow(**schemas.Connection.of(found).model_dump(), host=host)


@router.patch("/{name}")
async def edit_connection(
    name: str, body: schemas.ConnectionPatch, hub: HubOf, caller: CallerOf
) -> schemas.EditedConnection:
    """Change some fields; `name` renames. The connection is checked again when its address, key or TLS changes.

    A stored key is only ever sent to the host it was saved for: with another host in `url`, give `key` again.
    """
    edited = await connecting.edit(hub, name, body, caller.actor)
    report = None if edited.report is None else checks.CheckReport.from_report(edited.report)
    return schemas.EditedConnection(connection=schemas.Connection.of(edited.connection), check=report)


@router.delete("/{name}")
async def delete_connection(name: str, hub: HubOf, caller: CallerOf, dry_run: DryRun = False) -> Deletion:
    """Delete it with its models and its key. The answer says what stops working."""
    return Deletion.of(await hub.catalog.connections.delete(name, actor=caller.actor, dry_run=dry_run))


@router.post("/{name}/check")
async def check_stored_connection(
    name: str, hub: HubOf, body: checks.StoredCheckIn | None = None
) -> checks.CheckReport:
    """Check a connection with its stored key, and look for the models that are in use."""
    how = body or checks.StoredCheckIn()
    candidate = await of_stored(hub, name)
    names = how.models
    if names is None:
        names = [one.upstream_model for one in hub.catalog.models.list() if one.connection == name]
    report = await examine(hub, candidate, names, timeout=how.timeout, allow_spend=how.allow_spend)
    return checks.CheckReport.from_report(report)


@router.get("/{name}/upstream-models")
async def list_upstream_models(name: str, hub: HubOf) -> checks.UpstreamModels:
    """What the connection's server lists, and which of it is here already."""
    candidate = await of_stored(hub, name)
    report = await examine(hub, candidate, (), timeout=checks.DEFAULT_TIMEOUT, allow_spend=False)
    problem = first_error(report)
    if problem is not None and not report.models:
        raise UpstreamError(str(problem), details={"problem": problem.code})
    present: dict[str, list[str]] = {}
    for one in hub.catalog.models.list():
        if one.connection == name:
            present.setdefault(one.upstream_model, []).append(one.name)
    data = [
        checks.UpstreamModel(**checks.ListedModel.listed(model).model_dump(), added=present.get(model.id, []))
        for model in report.models
    ]
    return checks.UpstreamModels(data=data, server=report.server, url=report.base_url)


@router.post("/{name}/models", status_code=201)
async def add_models(name: str, body: schemas.AddModels, hub: HubOf, caller: CallerOf) -> schemas.AddedModels:
    """Add one model of the server, several, or all that it lists."""
    saved = await connecting.add_models(hub, name, body, caller.actor)
    return schemas.AddedModels(
        models=[Model.of(model) for model in saved.models],
        skipped=list(saved.skipped),
        check=None if saved.report is None else checks.CheckReport.from_report(saved.report),
    )
