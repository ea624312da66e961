"""Connections whose models are code: ``/api/connections/code``, and what such a connection has besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from byom.catalog.code_models import require_code
from byom.server.api import adding_code, code_state, preset_editing
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.event_stream import Tell, answer, streamed
from byom.server.api.schemas import code as schemas
from byom.server.api.schemas.connection import Connection, CreatedConnection
from byom.server.api.schemas.hub import Deletion
from byom.server.api.schemas.model import Model
from byom.server.log_file import follow, last_lines, log_path

router = APIRouter(prefix="/api/connections", tags=["code"])
TEXT = "text/plain; charset=utf-8"
_LOG: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.post("/code", status_code=201, responses=streamed("CreatedConnection", 201), response_model=CreatedConnection)
async def add_code(body: schemas.CodeIn, request: Request, hub: HubOf, caller: CallerOf) -> Any:
    """Make Python code on the hub's machine into models: a function, a class, or a plugin's folder.

    A plugin's environment is built, the code is loaded once, and connection, presets and models are saved, all or
    nothing. With `Accept: text/event-stream` the answer tells how far it is: events `progress`, `loading` and
    `output`, and then `report` or `error`.
    """

    async def work(tell: Tell) -> CreatedConnection:
        saved = await adding_code.add(hub, body, caller.actor, tell)
        return CreatedConnection(
            connection=Connection.of(saved.connection),
            models=[Model.of(one) for one in saved.models],
            skipped=list(saved.skipped),
            check=None,
        )

    return await answer(request, work)


@router.post(
    "/{name}/code-models", status_code=201, responses=streamed("AddedCode", 201), response_model=schemas.AddedCode
)
async def add_code_models(
    name: str, body: schemas.AddCodeModels, request: Request, hub: HubOf, caller: CallerOf
) -> Any:
    """Add further models of code that is connected already."""

    async def work(tell: Tell) -> schemas.AddedCode:
        saved = await adding_code.add_models(hub, name, body, caller.actor, tell)
        return schemas.AddedCode(models=[Model.of(one) for one in saved.models], skipped=list(saved.skipped))

    return await answer(request, work)


@router.get("/{name}/host")
async def get_host(name: str, hub: HubOf) -> schemas.HostState:
    """How the process of the code is, and each of its models."""
    require_code(hub.catalog, name)
    return await code_state.of(hub, name)


@router.post("/{name}/restart")
async def restart_host(name: str, hub: HubOf) -> schemas.HostState:
    """Start the process of the code anew, with the code as it is now. Calls under way are ended."""
    require_code(hub.catalog, name)
    return schemas.HostState.of(await hub.code.restart(name))


@router.get("/{name}/logs", response_class=Response, responses=_LOG)
async def get_logs(
    name: str,
    hub: HubOf,
    lines: Annotated[int, Query(ge=0, le=100_000, description="So many of the last lines.")] = 200,
    follow_: Annotated[bool, Query(alias="follow", description="Go on with what comes, until you leave.")] = False,
) -> Response:
    """What the code has written, and what was said of it."""
    require_code(hub.catalog, name)
    path = log_path(hub.settings.home / "logs", name)
    if follow_:
        return StreamingResponse(follow(path, lines), media_type=TEXT)
    return StreamingResponse(_once(path, lines), media_type=TEXT)


async def _once(path: Any, lines: int) -> AsyncIterator[bytes]:
    import asyncio

    yield await asyncio.to_thread(last_lines, path, lines)


# -- presets


@router.get("/{name}/presets")
async def list_presets(name: str, hub: HubOf) -> schemas.Presets:
    return schemas.Presets(data=[schemas.Preset.of(one) for one in hub.catalog.presets.list(name)])


@router.post("/{name}/presets", status_code=201)
async def create_preset(name: str, body: schemas.PresetIn, hub: HubOf, caller: CallerOf) -> schemas.Preset:
    """Values of a parameter set under a name, for the models of this connection."""
    return schemas.Preset.of(await preset_editing.create(hub, name, body, caller.actor))


@router.get("/{name}/presets/{preset}")
async def get_preset(name: str, preset: str, hub: HubOf) -> schemas.Preset:
    return schemas.Preset.of(hub.catalog.presets.get(name, preset))


@router.patch("/{name}/presets/{preset}")
async def edit_preset(
    name: str, preset: str, body: schemas.PresetPatch, hub: HubOf, caller: CallerOf
) -> schemas.Preset:
    return schemas.Preset.of(await preset_editing.update(hub, name, preset, body, caller.actor))


@router.delete("/{name}/presets/{preset}")
async def delete_preset(name: str, preset: str, hub: HubOf, caller: CallerOf, dry_run: DryRun = False) -> Deletion:
    """Delete it, with what users entered for it."""
    return Deletion.of(await hub.catalog.presets.delete(name, preset, actor=caller.actor, dry_run=dry_run))
