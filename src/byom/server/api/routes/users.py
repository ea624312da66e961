"""``/api/users``. A user's name may hold any character, so the rest of the path is the name."""

from __future__ import annotations

from fastapi import APIRouter

from byom.catalog.edits import merge
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.schemas import user as schemas
from byom.server.api.schemas.hub import Deletion

router = APIRouter(prefix="/api/users", tags=["users"])


@router.get("")
async def list_users(hub: HubOf) -> schemas.Users:
    return schemas.Users(data=[schemas.User.of(one) for one in hub.catalog.users.list()])


@router.post("", status_code=201)
async def create_user(body: schemas.UserIn, hub: HubOf, caller: CallerOf) -> schemas.User:
    return schemas.User.of(await hub.catalog.users.create(merge({}, body.fields()), actor=caller.actor))


@router.get("/{name:path}")
async def get_user(name: str, hub: HubOf) -> schemas.User:
    return schemas.User.of(hub.catalog.users.get(name))


@router.patch("/{name:path}")
async def edit_user(name: str, body: schemas.UserPatch, hub: HubOf, caller: CallerOf) -> schemas.User:
    """`disabled` and `role` act on all keys of the user at once."""
    return schemas.User.of(await hub.catalog.users.update(name, body.fields(), actor=caller.actor))


@router.delete("/{name:path}")
async def delete_user(name: str, hub: HubOf, caller: CallerOf, dry_run: DryRun = False) -> Deletion:
    """Delete the user and all its keys."""
    return Deletion.of(await hub.catalog.users.delete(name, actor=caller.actor, dry_run=dry_run))
