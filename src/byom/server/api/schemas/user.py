"""Users: whom keys belong to."""

from __future__ import annotations

from pydantic import Field

from byom.catalog.forms import Role
from byom.server.api.schemas.fields import Flag, Given, Name, Shown
from byom.server.api.schemas.policies import Limits, LimitsIn


class UserIn(Given):
    name: Name
    role: Role = "inference"
    disabled: Flag = Field(default=False, description="Stops all keys of the user at once.")
    limits: LimitsIn | None = None


class UserPatch(Given):
    name: Name | None = None
    role: Role | None = None
    disabled: Flag | None = None
    limits: LimitsIn | None = None


class User(Shown):
    id: str
    name: str
    role: Role
    disabled: bool
    limits: Limits
    keys: int = Field(description="Number of its keys that are not revoked.")
    owner: str | None
    created_at: float
    updated_at: float


class Users(Shown):
    data: list[User]
