"""``/api/me/credentials``: what code needs of each user. Nobody sees anybody's, and only their owner enters them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from byom.errors import NotFound
from byom.server.api.access import Caller
from byom.server.api.dependencies import CallerOf, HubOf
from byom.server.api.schemas import code as schemas
from byom.server.api.schemas.fields import Filter
from byom.server.api.services import Hub

router = APIRouter(prefix="/api/me/credentials", tags=["credentials"])
ALONE = "admin"
"""Whose credentials those of a hub without keys are."""


@router.get("")
async def list_credentials(hub: HubOf, caller: CallerOf) -> schemas.Credentials:
    """What the models that you may use ask of you, and whether it is there. Open to every key."""
    allowed = None if caller.key is None else caller.key.models
    found = hub.catalog.credentials.list(_user_id(hub, caller), allowed)
    return schemas.Credentials(data=[schemas.Credential.of(one) for one in found])


@router.put("")
async def put_credential(body: schemas.CredentialIn, hub: HubOf, caller: CallerOf) -> schemas.Credential:
    """Enter a credential of your own. It is kept encrypted, handed to that code alone, and shown to nobody."""
    value: str | dict[str, str]
    if isinstance(body.value, schemas.Login):
        value = {"user": body.value.user, "password": body.value.password.get_secret_value()}
    else:
        value = body.value.get_secret_value()
    stored = await hub.catalog.credentials.put(
        _user_id(hub, caller), body.connection, body.preset, body.field, value, actor=caller.actor
    )
    return schemas.Credential.of(stored)


@router.delete("", status_code=204, response_class=Response)
async def delete_credential(
    hub: HubOf,
    caller: CallerOf,
    connection: Annotated[Filter, Query()],
    preset: Annotated[Filter, Query()],
    field: Annotated[Filter, Query()],
) -> Response:
    """Delete a credential of your own."""
    await hub.catalog.credentials.delete(_user_id(hub, caller), connection, preset, field, actor=caller.actor)
    return Response(status_code=204)


def _user_id(hub: Hub, caller: Caller) -> str:
    if caller.key is not None:
        return caller.key.user_id
    row = hub.catalog.state.user(ALONE)
    if row is None:
        raise NotFound(f"there is no user {ALONE!r}", code="user_not_found")
    return row.id
