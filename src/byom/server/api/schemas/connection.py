"""Connections: how to reach a provider."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from byom.catalog.forms import ConnectionKind, MaxTokensField, MissingUsage, Streaming, StreamUsage
from byom.server.api.schemas.check import DEFAULT_TIMEOUT, CheckReport, CheckTimeout, Headers
from byom.server.api.schemas.fields import Flag, Given, JsonObject, Name, Shown, Text
from byom.server.api.schemas.model import Model
from byom.server.api.schemas.policies import Circuit, CircuitIn, Limits, LimitsIn, Retry, RetryIn, Timeouts, TimeoutsIn
from byom.server.api.schemas.probe import ProbeOutcome

Key = Annotated[
    SecretStr, Field(max_length=4096, description="Write-only; sent to the host of `url` and nowhere else.")
]


class Checked(Given):
    """Whether and how to check before saving."""

    check: Flag = Field(
        default=True, description="Test the connection first, and refuse to save one that does not work."
    )
    save_anyway: Flag = Field(default=False, description="Save it whatever the check finds.")
    allow_spend: Flag = Field(
        default=False,
        description="Where the server lists no models, the check may call each named model for one token.",
    )
    check_timeout: CheckTimeout = DEFAULT_TIMEOUT


CHECKING = frozenset(Checked.model_fields)


class NamedModel(Given):
    """A model under another name than the server's."""

    id: Name = Field(description="The server's name.")
    name: Name = Field(description="What to call it here.")


WantedModels = Annotated[list[Name | NamedModel], Field(max_length=500)]


class ConnectionIn(Checked):
    """A new connection to an OpenAI-compatible server."""

    name: Name
    kind: Literal["endpoint"] = "endpoint"
    url: Text = Field(description="In any form that people paste; with or without /v1.")
    key: Key | None = None
    headers: Headers | None = Field(default=None, description="Those that look like credentials are kept as secrets.")
    models: WantedModels | Literal["all"] = Field(
        default=[],
        description='The server\'s names, each alone or as {"id": …, "name": another one}; or "all" that it lists.',
    )
    timeouts: TimeoutsIn | None = None
    retry: RetryIn | None = None
    circuit: CircuitIn | None = None
    limits: LimitsIn | None = None
    verify_tls: Flag | None = None
    ca_file: Text | None = None
    streaming: Streaming | None = None
    stream_usage: StreamUsage | None = None
    missing_usage: MissingUsage | None = None
    max_tokens_field: MaxTokensField | None = None
    enabled: Flag | None = None
    options: JsonObject | None = None
    probe: Flag = Field(default=False, description="Find out what each named model can do. This spends tokens.")


class ConnectionPatch(Checked):
    """Some fields of a connection; null goes back to the default. ``key``: null removes it, absent keeps it."""

    name: Name | None = None
    url: Text | None = None
    key: Key | None = None
    headers: Annotated[dict[Name, Text | None], Field(max_length=50)] | None = None
    timeouts: TimeoutsIn | None = None
    retry: RetryIn | None = None
    circuit: CircuitIn | None = None
    limits: LimitsIn | None = None
    verify_tls: Flag | None = None
    ca_file: Text | None = None
    streaming: Streaming | None = None
    stream_usage: StreamUsage | None = None
    missing_usage: MissingUsage | None = None
    max_tokens_field: MaxTokensField | None = None
    enabled: Flag | None = None
    options: JsonObject | None = None


class AddModels(Checked):
    """Models of a connection, by the server's names."""

    models: Annotated[WantedModels, Field(min_length=1)] | Literal["all"]


class Connection(Shown):
    id: str
    name: str
    kind: ConnectionKind
    url: str | None
    key_hint: str | None = Field(description="Last four characters of the stored key; null without one.")
    headers: dict[str, str]
    secret_headers: list[str] = Field(description="Names of headers whose values are secrets.")
    timeouts: Timeouts
    retry: Retry
    circuit: Circuit
    limits: Limits
    verify_tls: bool
    ca_file: str | None
    streaming: Streaming
    stream_usage: StreamUsage
    missing_usage: MissingUsage
    max_tokens_field: MaxTokensField
    enabled: bool
    options: dict[str, Any]
    models: list[str]
    owner: str | None
    created_at: float
    updated_at: float
    version: int


class Connections(Shown):
    data: list[Connection]


class EditedConnection(Shown):
    connection: Connection
    check: CheckReport | None = Field(description="null where no check was made.")


class AddedModels(Shown):
    models: list[Model] = Field(description="The models that were added.")
    skipped: list[str] = Field(description="The server's names that were left out: they are here already.")
    check: CheckReport | None = Field(description="null where no check was made.")


class CreatedConnection(AddedModels):
    connection: Connection
    probes: list[ProbeOutcome] = []
