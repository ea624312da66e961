"""Settings that take effect without a restart."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from byom.server.api.schemas.fields import Bytes, Flag, Given, Name, PositiveSeconds, Seconds, Shown
from byom.server.api.schemas.policies import Limits, LimitsIn

Hosts = Annotated[list[Name], Field(max_length=500)]


class NetworkIn(Given):
    """Which addresses an endpoint may have. Cloud metadata addresses are denied whatever this says."""

    allow_loopback: Flag | None = None
    allow_private: Flag | None = None
    allow_public: Flag | None = None
    allow_hosts: Hosts | None = Field(
        default=None, description="When not empty, only these; *.example.org matches below it."
    )
    deny_hosts: Hosts | None = None


class SettingsPatch(Given):
    """Some settings; null goes back to the default."""

    max_body_bytes: Bytes | None = None
    keepalive_seconds: PositiveSeconds | None = None
    default_connection: Name | None = None
    require_price: Flag | None = None
    unauthenticated_limits: LimitsIn | None = None
    idempotency_seconds: Seconds | None = None
    cache_bytes: Annotated[int, Field(strict=True, ge=0, le=2**40)] | None = None
    network: NetworkIn | None = None


class Network(Shown):
    allow_loopback: bool
    allow_private: bool
    allow_public: bool
    allow_hosts: list[str]
    deny_hosts: list[str]


class LiveSettings(Shown):
    max_body_bytes: int
    keepalive_seconds: float
    default_connection: str | None
    require_price: bool
    unauthenticated_limits: Limits
    idempotency_seconds: float
    cache_bytes: int
    network: Network
