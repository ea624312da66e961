"""Specs of weights: ``/api/specs``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from byom.errors import NotFound
from byom.server.api.dependencies import HubOf
from byom.server.api.schemas import launch as schemas

router = APIRouter(prefix="/api/specs", tags=["specs"])
TypeOf = Annotated[schemas.ModelType | None, Query(alias="type", description="Only specs of this type.")]


@router.get("")
async def list_specs(
    hub: HubOf, type_: TypeOf = None, detailed: Annotated[bool, Query(description="With the whole specs.")] = False
) -> schemas.Specs:
    """What can be launched."""
    found = []
    for one in await hub.launching.specs(type_, detailed=detailed):
        head = {name: one[name] for name in ("model_name", "model_type", "is_builtin", "persisted")}
        spec = {name: value for name, value in one.items() if name not in head or name == "model_name"}
        found.append(schemas.SpecShown(**head, spec=spec if detailed else None))
    return schemas.Specs(data=found)


@router.post("", status_code=201)
async def register_spec(body: schemas.SpecIn, hub: HubOf) -> schemas.RegisteredSpec:
    """Check a spec, and keep it under its name. Every problem is told at once, with its field and its mend."""
    found = await hub.launching.register(body.spec, type=body.type, persist=body.persist, replace=body.replace)
    return schemas.RegisteredSpec(**found)


@router.get("/{model_type}/{name}")
async def get_spec(model_type: schemas.ModelType, name: str, hub: HubOf) -> schemas.RegisteredSpec:
    """A spec, as it can be registered."""
    return schemas.RegisteredSpec(spec=await hub.launching.spec(model_type, name), notes=[])


@router.delete("/{model_type}/{name}", status_code=204)
async def unregister_spec(model_type: schemas.ModelType, name: str, hub: HubOf) -> None:
    """Forget a spec. What runs of it goes on, and weights stay where they are."""
    if not await hub.launching.unregister(model_type, name):
        raise NotFound(f"There is no {model_type} spec {name!r}.")
