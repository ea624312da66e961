"""What a caller may write: one form for creating, editing and declaring each thing of the catalog.

A form is a whole thing; an edit is a mapping of some of its fields (RFC 7396: ``None`` goes back to the default).
Money is dollars, as a decimal string or number; durations are seconds.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byom.catalog.snapshot import CachePolicy, Circuit, Retry
from byom.types.limits import Period, Window
from byom.types.target import NetworkPolicy, Timeouts

ConnectionKind = Literal["endpoint", "builtin", "weights", "code"]
CodeForm = Literal["function", "class", "plugin"]
Role = Literal["inference", "admin"]
StreamUsage = Literal["ask", "never"]
Streaming = Literal["native", "none"]
MissingUsage = Literal["estimate", "fail", "free"]
MaxTokensField = Literal["as-is", "max_tokens", "max_completion_tokens"]


Positive = Annotated[int, Meta(gt=0, le=2**31 - 1)]
"""Fits a 32-bit column of every database."""
PositiveSeconds = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]


class Form(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of the forms: unknown fields are errors, and secrets stay out of ``repr``."""


class BudgetForm(Form, kw_only=True, frozen=True):
    """At most ``amount`` dollars in each calendar period (UTC)."""

    amount: Decimal
    period: Period = "month"


class LimitsForm(Form, kw_only=True, frozen=True):
    """Limits as people write them. Every field that is given holds; they do not replace one another."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    rate_limit: tuple[Positive, PositiveSeconds] | None = None
    """``[n_requests, seconds]``."""
    windows: tuple[Window, ...] = ()
    """Any further window, for example ``{unit = "tokens", amount = 1000000, seconds = 86400}``."""
    concurrency: Positive | None = None
    budget: BudgetForm | tuple[BudgetForm, ...] | None = None
    max_wait: Seconds = 0.0
    """Seconds that a call over a limit waits before it is refused; 0 refuses at once."""


class PriceForm(Form, kw_only=True, frozen=True):
    """Dollars per million tokens; ``request`` is dollars per call. ``None`` for a part: charged as its whole."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    request: Decimal = Decimal(0)


class ConnectionForm(Form, kw_only=True, frozen=True):
    """How to reach a provider or a piece of code."""

    name: str
    kind: ConnectionKind = "endpoint"
    url: str | None = None
    """Any form that people paste; stored as ``scheme://host[:port]/path`` up to ``/v1``. Required for ``endpoint``."""
    base_path: str | None = None
    """The path before the routes where a check found it (``""``: none); ``None``: taken from ``url``."""
    key: str | None = None
    """Write-only. Sent as ``Authorization: Bearer <key>`` to the host of ``url`` and nowhere else."""
    headers: dict[str, str] = {}
    """Further headers. Those that look like credentials are stored as secrets, write-only."""
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    circuit: Circuit = Circuit()
    limits: LimitsForm = LimitsForm()
    verify_tls: bool = True
    ca_file: str | None = None
    streaming: Streaming = "native"
    stream_usage: StreamUsage = "ask"
    missing_usage: MissingUsage = "estimate"
    max_tokens_field: MaxTokensField = "as-is"
    enabled: bool = True
    options: dict[str, Any] = {}
    """What the kind needs besides; for ``code`` the fields of `CodeOptions`. Never a secret."""

    def __repr__(self) -> str:
        return f"ConnectionForm(name={self.name!r}, kind={self.kind!r})"


class CodeOptions(Form, kw_only=True, frozen=True):
    """The options of a connection of kind ``code``: which code, and how its processes run."""

    target: str
    """``file.py:object``, ``module:object`` or a plugin's folder. Files are whole paths of the hub's machine."""
    form: CodeForm | None = None
    """How the code is written, as it was found; ``None``: found out at the start."""
    python: str | None = None
    """The interpreter of the code's environment; ``None``: the hub's own (for a plugin: the one built for it)."""
    workers: Positive = 1
    """Processes that run the code."""
    threads: Positive = 32
    """Calls at once in each of them."""
    queue: Positive = 256
    """Calls that may wait; more are refused with 503."""
    timeout: PositiveSeconds = 600.0
    """Seconds for one call; the process of one that takes longer is ended."""
    memory_mb: Positive | None = None
    """A process that has more memory than this is ended after its calls, and replaced."""
    instances: Positive | None = None
    """Objects of a class, each of which answers one call at a time; ``None``: as the contract has it."""
    args: dict[str, Any] = {}
    """Handed to the code as it is. Never a secret."""
    rename: dict[str, str] = {}
    """Names for models whose code gives them none, or one that is taken: by the name in the code."""
    eager: bool = False
    """Start with the hub instead of with the first call."""
    plugin: dict[str, Any] = {}
    """What is known of a plugin: ``id``, ``version``, ``label``, ``environment``."""
    plugin_config: dict[str, Any] = {}
    """The values of the plugin's own parameters."""


class NeededCredential(Form, kw_only=True, frozen=True):
    """A credential that each user enters for themselves before a model of a plugin can be called."""

    param: str
    """The model's parameter that takes the preset."""
    preset: str
    field: str
    """The preset's field that takes the credential."""
    type: str = "SINGLE_FIELD"
    """``SINGLE_FIELD`` (a text) or ``BASIC`` (a user name and a password)."""
    label: str = ""


class ModelOptions(Form, kw_only=True, frozen=True):
    """What a model of a plugin has besides: which component it is, and its parameters."""

    component: str = ""
    params: dict[str, Any] = {}
    """Values by parameter. Those of secret parameters are kept with the connection's secrets instead."""
    presets: dict[str, str] = {}
    """Names of presets by the parameter that takes one."""
    credentials: tuple[NeededCredential, ...] = ()


class PresetForm(Form, kw_only=True, frozen=True):
    """Named values of one of a plugin's parameter sets, for the models of one connection."""

    name: str
    parameter_set: str = ""
    values: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    """Values that are kept encrypted. Write-only."""

    def __repr__(self) -> str:
        return f"PresetForm(name={self.name!r}, parameter_set={self.parameter_set!r})"


class ModelForm(Form, kw_only=True, frozen=True):
    """One usable name. ``None`` in a policy field means: as its connection has it."""

    name: str
    connection: str
    upstream_model: str | None = None
    """The name that the upstream knows; ``None``: the same."""
    abilities: frozenset[str] | None = None
    """Some of chat, generate, embed, rerank, vision, tools, json; ``None``: chat."""
    context_window: Positive | None = None
    dimensions: Positive | None = None
    price: PriceForm | None = None
    """This model's own price; it goes before every other one."""
    fallbacks: tuple[str, ...] = ()
    limits: LimitsForm = LimitsForm()
    cache: CachePolicy | None = None
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    streaming: Streaming | None = None
    stream_usage: StreamUsage | None = None
    missing_usage: MissingUsage | None = None
    max_tokens_field: MaxTokensField | None = None
    enabled: bool = True
    details: dict[str, Any] = {}
    """What a probe found out, by name."""
    options: ModelOptions = ModelOptions()
    """For a model of a plugin."""


class UserForm(Form, kw_only=True, frozen=True):
    name: str
    role: Role = "inference"
    disabled: bool = False
    """Stops all keys of the user at once."""
    limits: LimitsForm = LimitsForm()


class KeyForm(Form, kw_only=True, frozen=True):
    """A caller's key. ``role="admin"`` also opens the management API."""

    name: str
    user: str = "admin"
    role: Role = "inference"
    models: tuple[str, ...] | None = None
    """Names this key may use; ``None``: all."""
    limits: LimitsForm = LimitsForm()
    expires_at: float | None = None
    """Seconds since the epoch; ``None``: never."""


class SettingsForm(Form, kw_only=True, frozen=True):
    """Settings that take effect without a restart; the same names as `byom.catalog.snapshot.GatewaySettings`."""

    max_body_bytes: Positive = 64 * 1024 * 1024
    keepalive_seconds: PositiveSeconds = 15.0
    default_connection: str | None = None
    require_price: bool = False
    unauthenticated_limits: LimitsForm = LimitsForm()
    idempotency_seconds: Seconds = 120.0
    cache_bytes: Annotated[int, Meta(ge=0)] = 64 * 1024 * 1024
    network: NetworkPolicy = NetworkPolicy()
