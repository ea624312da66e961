"""What the catalog shows: no secret is in here, at most the last four characters of one.

Times are seconds since the epoch (UTC). ``owner`` is ``"byom.toml"`` for what a file declared, else ``None``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from byom.catalog.forms import (
    ConnectionKind,
    LimitsForm,
    MaxTokensField,
    MissingUsage,
    ModelOptions,
    PriceForm,
    Role,
    Streaming,
    StreamUsage,
)
from byom.catalog.snapshot import CachePolicy, Circuit, Retry
from byom.types.target import Timeouts


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """Base of what is shown; ``msgspec.to_builtins(record, str_keys=True)`` gives its JSON form."""


class Connection(Record, kw_only=True, frozen=True):
    id: str
    name: str
    kind: ConnectionKind
    url: str | None
    key_hint: str | None
    """Last four characters of the stored key; ``""`` when it is too short to show any, ``None`` without a key."""
    headers: dict[str, str]
    secret_headers: tuple[str, ...]
    """Names of the headers whose values are stored as secrets."""
    timeouts: Timeouts
    retry: Retry
    circuit: Circuit
    limits: LimitsForm
    verify_tls: bool
    ca_file: str | None
    streaming: Streaming
    stream_usage: StreamUsage
    missing_usage: MissingUsage
    max_tokens_field: MaxTokensField
    enabled: bool
    options: dict[str, Any]
    models: tuple[str, ...]
    """Names of its models."""
    owner: str | None
    created_at: float
    updated_at: float
    version: int


class TierShown(Record, kw_only=True, frozen=True):
    """The price of all tokens of a call whose prompt is longer than ``above`` tokens."""

    above: int
    price: PriceForm


class PriceShown(Record, kw_only=True, frozen=True):
    """The price in force, dollars per million tokens, and where it comes from."""

    price: PriceForm
    source: str
    """``model`` (its own), ``user`` (a pattern), ``local`` or the packaged table's name."""
    pattern: str | None = None
    """The pattern that matched, where ``source`` is ``user``."""
    version: str = ""
    tiers: tuple[TierShown, ...] = ()


class Model(Record, kw_only=True, frozen=True):
    id: str
    name: str
    connection: str
    upstream_model: str
    abilities: tuple[str, ...]
    context_window: int | None
    dimensions: int | None
    own_price: PriceForm | None
    price: PriceShown | None
    """``None``: not known."""
    price_note: str
    """Why the price is not known, where it is not; else empty."""
    fallbacks: tuple[str, ...]
    limits: LimitsForm
    cache: CachePolicy | None
    timeouts: Timeouts | None
    retry: Retry | None
    streaming: Streaming | None
    stream_usage: StreamUsage | None
    missing_usage: MissingUsage | None
    max_tokens_field: MaxTokensField | None
    enabled: bool
    available: bool
    """It can be called now: enabled, its connection too, and a process that it needs is running."""
    aliases: tuple[str, ...]
    """Further names by which it is called: ``connection/model`` and ``custom:<connection>:<model>``."""
    details: dict[str, Any]
    options: ModelOptions
    from_code: tuple[str, ...]
    """Fields whose value is what the model's code says, and follows it."""
    owner: str | None
    created_at: float
    updated_at: float
    version: int


class Preset(Record, kw_only=True, frozen=True):
    """Named values of one of a plugin's parameter sets, and which of its fields each user fills in."""

    id: str
    connection: str
    name: str
    parameter_set: str
    values: dict[str, Any]
    secrets: dict[str, str]
    """Hints of the stored secret values, by field."""
    models: tuple[str, ...]
    """Models that use it."""
    credentials: int
    """How many credentials users have entered for it."""
    owner: str | None
    created_at: float
    updated_at: float


class Credential(Record, kw_only=True, frozen=True):
    """A credential that a model of a plugin needs of a user, and whether it is there. Its value is never shown."""

    connection: str
    preset: str
    field: str
    type: str
    """``SINGLE_FIELD`` (a text) or ``BASIC`` (a user name and a password)."""
    label: str
    models: tuple[str, ...]
    """Models that need it."""
    is_set: bool
    hint: str | None
    """Last four characters, ``""`` where it is too short to show any; ``None`` where it is not set."""
    updated_at: float | None


class User(Record, kw_only=True, frozen=True):
    id: str
    name: str
    role: Role
    disabled: bool
    limits: LimitsForm
    keys: int
    """Number of its keys that are not revoked."""
    owner: str | None
    created_at: float
    updated_at: float


class Key(Record, kw_only=True, frozen=True):
    id: str
    name: str
    user: str
    role: Role
    key_hint: str
    models: tuple[str, ...] | None
    limits: LimitsForm
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    """Written in batches: up to some seconds late."""
    state: Literal["active", "expired", "revoked", "disabled"]


class CreatedKey(Record, kw_only=True, frozen=True):
    """A new key; ``token`` is shown this once and kept nowhere."""

    key: Key
    token: str

    def __repr__(self) -> str:
        return f"CreatedKey(id={self.key.id!r})"


class PriceOverride(Record, kw_only=True, frozen=True):
    pattern: str
    """A model name, or a pattern with ``*`` and ``?``."""
    price: PriceForm
    owner: str | None
    created_at: float


class AuditEntry(Record, kw_only=True, frozen=True):
    id: int
    at: float
    actor: str
    """``key:<id>`` or a word such as ``cli`` or ``system``."""
    action: Literal["create", "update", "delete"]
    kind: str
    """One of `byom.catalog.state.KINDS`."""
    name: str
    before: dict[str, Any] | None
    """The fields that changed, as they were; a secret is shown as its hint."""
    after: dict[str, Any] | None


class Deletion(Record, kw_only=True, frozen=True):
    """What a deletion removes and what will stop working."""

    kind: Literal["connection", "model", "user", "key", "preset"]
    name: str
    models: tuple[str, ...] = ()
    """Models that go with it."""
    fallbacks: tuple[str, ...] = ()
    """Models that lose a fallback by it."""
    keys: tuple[str, ...] = ()
    """Ids of keys that will not work any more, or that lose a model they are restricted to."""
    settings: tuple[str, ...] = ()
    """Settings that name it and go back to their default."""
    presets: tuple[str, ...] = ()
    """Presets that go with it."""
    credentials: int = 0
    """How many credentials of users go with it."""
    warnings: tuple[str, ...] = ()
    done: bool = False
    """False for a dry run."""


class Change(Record, kw_only=True, frozen=True):
    action: Literal["create", "update", "delete"]
    kind: str
    name: str
    fields: tuple[str, ...] = ()
    """The fields that differ, for an update."""


class Plan(Record, kw_only=True, frozen=True):
    """What applying a byom.toml changes (or, after a dry run, would change)."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
    done: bool = False

    def __bool__(self) -> bool:
        return bool(self.changes)
