"""The rows of the catalog in memory, and the difference between two states.

A change works on a copy of the state; what to write, what to log and what a plan shows all follow from the difference.
Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

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
from byom.types.usage import Price

Kind = Literal["connection", "model", "user", "key", "secret", "preset", "credential", "price", "setting"]
KINDS: tuple[Kind, ...] = (
    "connection", "model", "user", "key", "secret", "preset", "credential", "price", "setting",
)  # fmt: skip
"""Parents before children."""


class Struct(msgspec.Struct, kw_only=True, frozen=True):
    pass


class ConnectionPolicy(Struct, kw_only=True, frozen=True):
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    circuit: Circuit = Circuit()
    verify_tls: bool = True
    ca_file: str | None = None
    streaming: Streaming = "native"
    stream_usage: StreamUsage = "ask"
    missing_usage: MissingUsage = "estimate"
    max_tokens_field: MaxTokensField = "as-is"


class ModelPolicy(Struct, kw_only=True, frozen=True):
    cache: CachePolicy | None = None
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    streaming: Streaming | None = None
    stream_usage: StreamUsage | None = None
    missing_usage: MissingUsage | None = None
    max_tokens_field: MaxTokensField | None = None


class PackagedPrice(Struct, kw_only=True, frozen=True):
    """What the packaged table said when it was asked, so that a start need not load it."""

    price: Price | None
    note: str
    """Why there is no price, where there is none."""
    version: str
    until: float | None = None
    """When the table itself says that the price changes; seconds since the epoch."""
    asked: str = ""
    """For which upstream; another one means asking again."""


class FromCode(Struct, kw_only=True, frozen=True):
    """Of a model whose code says what it is: that, and which of its fields a person has set instead."""

    told: dict[str, Any] = {}
    """Fields of a `ModelForm`, as the code last said them."""
    kept: tuple[str, ...] = ()
    """Fields that stay as they were set, whatever the code says."""


class ConnectionRow(Struct, kw_only=True, frozen=True):
    id: str
    name: str
    kind: ConnectionKind
    url: str | None
    enabled: bool
    owner: str | None
    headers: dict[str, str]
    limits: LimitsForm
    policy: ConnectionPolicy
    options: dict[str, Any]
    created_at: int
    updated_at: int
    version: int


class ModelRow(Struct, kw_only=True, frozen=True):
    id: str
    name: str
    connection_id: str
    upstream_model: str
    enabled: bool
    owner: str | None
    abilities: tuple[str, ...] | None
    context_window: int | None
    dimensions: int | None
    fallbacks: tuple[str, ...]
    limits: LimitsForm
    policy: ModelPolicy
    own_price: PriceForm | None
    packaged: PackagedPrice | None
    details: dict[str, Any]
    created_at: int
    updated_at: int
    version: int
    options: ModelOptions = ModelOptions()
    from_code: FromCode | None = None


class UserRow(Struct, kw_only=True, frozen=True):
    id: str
    name: str
    role: Role
    disabled: bool
    owner: str | None
    limits: LimitsForm
    created_at: int
    updated_at: int


class KeyRow(Struct, kw_only=True, frozen=True):
    id: str
    user_id: str
    name: str
    role: Role
    digest: bytes
    hint: str
    models: tuple[str, ...] | None
    limits: LimitsForm
    expires_at: float | None
    revoked_at: int | None
    last_used_at: int | None
    created_at: int
    updated_at: int

    def __repr__(self) -> str:
        return f"KeyRow(id={self.id!r})"


class SecretRow(Struct, kw_only=True, frozen=True):
    id: str
    connection_id: str
    name: str
    """``key``, ``header:<name>``, ``model:<id>:<parameter>`` or ``preset:<id>:<field>``."""
    destination: str
    ciphertext: str
    hint: str
    source: str
    """``env:NAME`` or ``file:PATH`` where byom.toml takes it from there; else empty."""
    created_at: int

    def __repr__(self) -> str:
        return f"SecretRow(id={self.id!r})"


class PresetRow(Struct, kw_only=True, frozen=True):
    id: str
    connection_id: str
    name: str
    parameter_set: str
    values: dict[str, Any]
    owner: str | None
    created_at: int
    updated_at: int


class CredentialRow(Struct, kw_only=True, frozen=True):
    id: str
    user_id: str
    connection_id: str
    preset_id: str
    field: str
    ciphertext: str
    """Of the JSON form: a text, or ``{"user": …, "password": …}``."""
    hint: str
    created_at: int

    def __repr__(self) -> str:
        return f"CredentialRow(id={self.id!r})"


class PriceRow(Struct, kw_only=True, frozen=True):
    pattern: str
    price: PriceForm
    owner: str | None
    created_at: int


class SettingRow(Struct, kw_only=True, frozen=True):
    name: str
    value: Any
    owner: str | None


Row = ConnectionRow | ModelRow | UserRow | KeyRow | SecretRow | PresetRow | CredentialRow | PriceRow | SettingRow


class State(msgspec.Struct, kw_only=True):
    """Everything, by primary key."""

    revision: int = 0
    connections: dict[str, ConnectionRow] = {}
    models: dict[str, ModelRow] = {}
    users: dict[str, UserRow] = {}
    keys: dict[str, KeyRow] = {}
    secrets: dict[str, SecretRow] = {}
    presets: dict[str, PresetRow] = {}
    credentials: dict[str, CredentialRow] = {}
    prices: dict[str, PriceRow] = {}
    settings: dict[str, SettingRow] = {}

    def rows(self, kind: Kind) -> dict[str, Any]:
        rows: dict[str, Any] = getattr(self, f"{kind}s")
        return rows

    def copy(self) -> State:
        """Rows never change, so copying the dictionaries is enough."""
        return State(revision=self.revision, **{f"{kind}s": dict(self.rows(kind)) for kind in KINDS})

    def connection(self, name: str) -> ConnectionRow | None:
        return next((row for row in self.connections.values() if row.name == name), None)

    def model(self, name: str) -> ModelRow | None:
        return next((row for row in self.models.values() if row.name == name), None)

    def user(self, name: str) -> UserRow | None:
        return next((row for row in self.users.values() if row.name == name), None)

    def models_of(self, connection_id: str) -> list[ModelRow]:
        return [row for row in self.models.values() if row.connection_id == connection_id]

    def secrets_of(self, connection_id: str) -> list[SecretRow]:
        return [row for row in self.secrets.values() if row.connection_id == connection_id]

    @property
    def sealed(self) -> list[SecretRow | CredentialRow]:
        """Everything that is encrypted."""
        return [*self.secrets.values(), *self.credentials.values()]

    def presets_of(self, connection_id: str) -> list[PresetRow]:
        return [row for row in self.presets.values() if row.connection_id == connection_id]

    def keys_of(self, user_id: str) -> list[KeyRow]:
        return [row for row in self.keys.values() if row.user_id == user_id]

    def label(self, kind: Kind, row: Any) -> str:
        """How people call the row."""
        if kind == "secret":
            return f"{self._connection_name(row)}:{self._secret_name(row)}"
        if kind == "preset":
            return f"{self._connection_name(row)}:{row.name}"
        if kind == "credential":
            user, preset = self.users.get(row.user_id), self.presets.get(row.preset_id)
            who, which = user.name if user else row.user_id, preset.name if preset else row.preset_id
            return f"{who}:{self._connection_name(row)}:{which}:{row.field}"
        if kind == "key":
            return str(row.id)
        return str(row.pattern if kind == "price" else row.name)

    def _connection_name(self, row: Any) -> str:
        parent = self.connections.get(row.connection_id)
        return parent.name if parent else str(row.connection_id)

    def _secret_name(self, row: SecretRow) -> str:
        """With names instead of ids."""
        kind, _, rest = row.name.partition(":")
        id_, _, field = rest.partition(":")
        owner = self.models.get(id_) if kind == "model" else self.presets.get(id_) if kind == "preset" else None
        return row.name if owner is None else f"{kind}:{owner.name}:{field}"


class Difference(NamedTuple):
    kind: Kind
    id: str
    before: Any
    after: Any

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that differ, for a row that stays."""
        if self.before is None or self.after is None:
            return ()
        return tuple(
            name for name in self.after.__struct_fields__ if getattr(self.before, name) != getattr(self.after, name)
        )


def differences(before: State, after: State) -> Iterator[Difference]:
    """What was created, updated and deleted, kind by kind."""
    for kind in KINDS:
        old, new = before.rows(kind), after.rows(kind)
        for id_ in old.keys() - new.keys():
            yield Difference(kind, id_, old[id_], None)
        for id_, row in new.items():
            present = old.get(id_)
            if present is not row and present != row:
                yield Difference(kind, id_, present, row)
