"""Where an upstream is, how long it may take, and which addresses are allowed."""

from __future__ import annotations

from typing import Literal

import msgspec


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. ``0`` switches a time-out off."""

    connect: float = 10.0
    """Until the TCP connection and the TLS handshake stand."""
    first_byte: float = 600.0
    """From the request being sent until the first byte of the answer."""
    idle: float = 300.0
    """Between two pieces of an answer that has begun."""
    total: float = 0.0
    """The whole call, waiting for limits and all attempts included. Off by default: long answers are normal."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where an upstream is and how it may be reached."""

    scheme: Literal["http", "https"]
    host: str
    """As in the URL, without brackets."""
    port: int
    base_path: str
    """Path before the route, without a trailing slash: ``/v1`` or ``/prefix/v1``."""
    authorization: str | None = None
    """The whole value of the ``Authorization`` header. Bound to ``host`` when it was saved."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of this connection."""
    verify_tls: bool = True
    ca_file: str | None = None
    trusted: bool = False
    """A process that this hub started itself (loopback): the network policy does not apply."""
    replicas: tuple[tuple[str, int], ...] = ()
    """Further places (host and port) that answer alike, with the same authorization; a call goes to the least busy."""
    tell_user: bool = False
    """Who calls is said in the header ``x-byom-user`` (the user's id): code that has credentials for each user."""

    def __repr__(self) -> str:
        return f"Target({self.scheme}://{self.host}:{self.port}{self.base_path})"


class NetworkPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which addresses an endpoint may have. Cloud metadata addresses are denied whatever this says."""

    allow_loopback: bool = True
    allow_private: bool = True
    allow_public: bool = True
    allow_hosts: tuple[str, ...] = ()
    """When not empty, only these hosts (``*.example.org`` matches below it)."""
    deny_hosts: tuple[str, ...] = ()
