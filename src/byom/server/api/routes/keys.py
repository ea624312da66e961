"""``/api/keys`` and ``/api/me``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from byom.catalog.edits import merge
from byom.server.api.dependencies import CallerOf, DryRun, HubOf
from byom.server.api.schemas import key as schemas
from byom.server.api.schemas.fields import Filter
from byom.server.api.schemas.hub import Deletion

router = APIRouter(prefix="/api", tags=["keys"])


@router.get("/me")
async def get_me(hub: HubOf, caller: CallerOf) -> schemas.Me:
    """Whose key this is, and what it may do. Open to every key."""
    if caller.key is None:
        return schemas.Me(role="admin", user=None, key=None)
    key = schemas.Key.of(await hub.catalog.keys.get(caller.key.id))
    return schemas.Me(role=caller.key.role, user=caller.key.user_name, key=key)


@router.get("/keys")
async def list_keys(
    hub: HubOf, user: Annotated[Filter | None, Query(description="Only those of this user.")] = None
) -> schemas.Keys:
    return schemas.Keys(data=[schemas.Key.of(one) for one in await hub.catalog.keys.list(user=user)])


@router.post("/keys", status_code=201)
async def create_key(body: schemas.KeyIn, hub: HubOf, caller: CallerOf) -> schemas.CreatedKey:
    """Make a key. Its `token` is in this answer and nowhere else."""
    created = await hub.catalog.keys.create(merge({}, body.fields()), actor=caller.actor)
    return schemas.CreatedKey(key=schemas.Key.of(created.key), token=created.token)


@router.get("/keys/{key_id}")
async def get_key(key_id: str, hub: HubOf) -> schemas.Key:
    return schemas.Key.of(await hub.catalog.keys.get(key_id))


@router.patch("/keys/{key_id}")
async def edit_key(key_id: str, body: schemas.KeyPatch, hub: HubOf, caller: CallerOf) -> schemas.Key:
    return schemas.Key.of(await hub.catalog.keys.update(key_id, body.fields(), actor=caller.actor))


@router.delete("/keys/{key_id}")
async def revoke_key(key_id: str, hub: HubOf, caller: CallerOf, dry_run: DryRun = False) -> Deletion:
    """Stop the key at once, for good. It stays in the list, revoked."""
    return Deletion.of(await hub.catalog.keys.revoke(key_id, actor=caller.actor, dry_run=dry_run))
