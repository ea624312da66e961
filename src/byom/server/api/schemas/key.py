"""Caller keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from byom.catalog.forms import Role
from byom.server.api.schemas.fields import Given, Moment, Name, Shown
from byom.server.api.schemas.policies import Limits, LimitsIn

AllowedModels = Annotated[list[Name], Field(max_length=1000)]


class KeyIn(Given):
    name: Name
    user: Name = "admin"
    role: Role = Field(default="inference", description="`admin` also opens this API.")
    models: AllowedModels | None = Field(default=None, description="Names this key may use; null: all.")
    limits: LimitsIn | None = None
    expires_at: Moment | None = None


class KeyPatch(Given):
    name: Name | None = None
    role: Role | None = None
    models: AllowedModels | None = None
    limits: LimitsIn | None = None
    expires_at: Moment | None = None


class Key(Shown):
    id: str
    name: str
    user: str
    role: Role
    key_hint: str
    models: list[str] | None
    limits: Limits
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None = Field(description="Up to some seconds late.")
    state: Literal["active", "expired", "revoked", "disabled"]


class Keys(Shown):
    data: list[Key]


class CreatedKey(Shown):
    key: Key
    token: str = Field(description="The key itself. It is shown this once and kept nowhere.")


class Me(Shown):
    """Whom this request comes from."""

    role: Role
    user: str | None
    key: Key | None = Field(description="null on a hub without keys.")
