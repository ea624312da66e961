"""Models: usable names, each of one connection."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import Field

from byom.catalog.forms import MaxTokensField, MissingUsage, Streaming, StreamUsage
from byom.catalog.snapshot import Ability
from byom.server.api.schemas.fields import Count, Flag, Given, JsonObject, Name, Shown
from byom.server.api.schemas.policies import (
    Cache,
    CacheIn,
    Limits,
    LimitsIn,
    Price,
    PriceIn,
    Retry,
    RetryIn,
    Timeouts,
    TimeoutsIn,
)

Abilities = Annotated[list[Ability], Field(max_length=7)]
Fallbacks = Annotated[list[Name], Field(max_length=20)]
ModelState = Literal["ready", "unknown", "failing", "stopped", "disabled"]


class _ModelFields(Given):
    upstream_model: Name | None = Field(
        default=None, description="The name that the server knows; by default the same."
    )
    abilities: Abilities | None = None
    context_window: Count | None = None
    dimensions: Count | None = None
    price: PriceIn | None = Field(default=None, description="This model's own price; it goes before every other one.")
    fallbacks: Fallbacks | None = Field(default=None, description="Models to try, in order, when this one fails.")
    limits: LimitsIn | None = None
    cache: CacheIn | None = Field(default=None, description="Keep answers, to be given again to equal calls.")
    timeouts: TimeoutsIn | None = Field(default=None, description="null: as the connection has them.")
    retry: RetryIn | None = None
    streaming: Streaming | None = None
    stream_usage: StreamUsage | None = None
    missing_usage: MissingUsage | None = None
    max_tokens_field: MaxTokensField | None = None
    enabled: Flag | None = None
    details: JsonObject | None = None


class ModelIn(_ModelFields):
    name: Name
    connection: Name


class ModelPatch(_ModelFields):
    """Some fields of a model; null goes back to the default. ``name`` renames it."""

    name: Name | None = None
    connection: Name | None = None


class PriceTier(Shown):
    """The price of all tokens of a call whose prompt is longer than `above` tokens."""

    above: int
    price: Price


class PriceShown(Shown):
    price: Price
    source: str = Field(description="`model`, `user` (a pattern), `local`, or the packaged table's name.")
    pattern: str | None
    version: str
    tiers: list[PriceTier]


class Model(Shown):
    id: str
    name: str
    connection: str
    upstream_model: str
    abilities: list[str]
    context_window: int | None
    dimensions: int | None
    own_price: Price | None
    price: PriceShown | None = Field(description="The price in force; null where it is not known.")
    price_note: str
    fallbacks: list[str]
    limits: Limits
    cache: Cache | None
    timeouts: Timeouts | None
    retry: Retry | None
    streaming: Streaming | None
    stream_usage: StreamUsage | None
    missing_usage: MissingUsage | None
    max_tokens_field: MaxTokensField | None
    enabled: bool
    available: bool = Field(description="It can be called now.")
    state: ModelState = Field(
        default="unknown",
        description="`ready`: its last calls, or one of them, went well. `failing`: the last three failed (of fewer, "
        "all), or its connection is left alone for a while. `unknown`: it was not called yet. `stopped`: its process "
        "does not run. `disabled`: it, or its connection.",
    )
    aliases: list[str]
    details: dict[str, Any]
    options: dict[str, Any] = Field(description="Of a plugin: component, parameters, presets, credentials it asks for.")
    from_code: list[str] = Field(description="Fields whose value is what the model's code says, and follows it.")
    owner: str | None
    created_at: float
    updated_at: float
    version: int

    @classmethod
    def of(cls, record: msgspec.Struct) -> Self:
        """Of its state what the catalog knows; `byom.server.api.standing` knows more."""
        shown = super().of(record)
        if not shown.available:
            shown.state = "stopped" if shown.aliases else "disabled"
        return shown


class Models(Shown):
    data: list[Model]
