"""The catalog as the gateway reads it: immutable, in memory, swapped whole when something changes.

Everything that depends on configuration alone is worked out here once, so that a call pays for none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from byom.types.limits import Limits, Scope
from byom.types.target import NetworkPolicy, Target, Timeouts
from byom.types.usage import Price

Ability = Literal["chat", "generate", "embed", "rerank", "vision", "tools", "json"]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and when an attempt that failed before its first byte is tried again."""

    attempts: int = 2
    """Tries at one model, the first one included."""
    base_delay: float = 0.25
    max_delay: float = 8.0
    max_retry_after: float = 20.0
    """A ``Retry-After`` longer than this is passed to the caller instead of being waited for. Seconds."""
    budget: float = 0.2
    """Retries may be at most this share of a connection's calls (with a small allowance to begin with)."""


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """After ``failures`` failed attempts in a row the connection is left alone for ``seconds``."""

    failures: int = 5
    seconds: float = 15.0


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The exact-match response cache of one model."""

    seconds: float = 3600.0
    sampled: bool = False
    """Also keep answers to calls with ``temperature`` above 0 (or unset), or with tools."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A usable model, resolved."""

    name: str
    model_id: str
    connection: str
    connection_id: str
    upstream_model: str
    """The name the upstream knows."""
    target: Target
    abilities: frozenset[str]
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    circuit: Circuit = Circuit()
    price: Price | None = None
    scopes: tuple[Scope, ...] = ()
    """The model's and the connection's scope, those without limits left out."""
    max_wait: float = 0.0
    fallbacks: tuple[str, ...] = ()
    """Names of models to try, in order, when this one fails before its first byte."""
    cache: CachePolicy | None = None
    streaming: Literal["native", "none"] = "native"
    """``none``: the upstream does not stream; its whole answer is made into the stream that a caller asked for."""
    stream_usage: Literal["ask", "never"] = "ask"
    """``ask``: streams are requested with usage, and it is taken out again when the caller did not want it."""
    missing_usage: Literal["estimate", "fail", "free"] = "estimate"
    max_tokens_field: Literal["as-is", "max_tokens", "max_completion_tokens"] = "as-is"
    context_window: int | None = None
    created: int = 0
    """Seconds since the epoch, for ``/v1/models``."""
    version: int = 0
    """Grows with every edit of the model or its connection; a part of the cache key."""


class CallerKey(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's key, as the gateway needs it. ``digest`` is SHA-256 of the whole key."""

    id: str
    digest: bytes
    user_id: str
    user_name: str
    name: str
    role: Literal["inference", "admin"]
    models: frozenset[str] | None = None
    """Names this key may use; ``None``: all."""
    scopes: tuple[Scope, ...] = ()
    """The key's and its user's scope, those without limits left out."""
    max_wait: float = 0.0
    expires_at: float | None = None
    """Seconds since the epoch."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that take effect without a restart."""

    max_body_bytes: int = 64 * 1024 * 1024
    keepalive_seconds: float = 15.0
    """Silence after which an event stream gets a comment line, so that nothing between cuts it."""
    default_connection: str | None = None
    """Where a ``/v1`` route without a model goes (files, batches, …)."""
    require_price: bool = False
    """Refuse models without a known price with 402."""
    unauthenticated_limits: Limits = Limits()
    idempotency_seconds: float = 120.0
    cache_bytes: int = 64 * 1024 * 1024


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 0
    routes: Mapping[str, Route] = {}
    """By name, by ``connection/name`` and by ``custom:<connection>:<name>``."""
    models: tuple[Route, ...] = ()
    """Each usable model once, in the order of the catalog."""
    connections: Mapping[str, Target] = {}
    """By connection name, for routes without a model."""
    keys: Mapping[str, CallerKey] = {}
    """By public id; revoked keys are not here."""
    network: NetworkPolicy = NetworkPolicy()
    settings: GatewaySettings = GatewaySettings()
