"""Parts that connections, models, users and keys share: limits, time-outs, retries, prices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from byom.server.api.schemas.fields import Count, Dollars, Flag, Given, PositiveSeconds, Seconds, Shown
from byom.types.limits import Period


class WindowIn(Given):
    """At most ``amount`` of ``unit`` in any ``seconds`` seconds."""

    unit: Literal["requests", "tokens"]
    amount: Count
    seconds: PositiveSeconds


class BudgetIn(Given):
    """At most ``amount`` dollars in each calendar period (UTC)."""

    amount: Dollars
    period: Period = "month"


class LimitsIn(Given):
    """Every limit that is given holds; they do not replace one another."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    rate_limit: tuple[Count, PositiveSeconds] | None = Field(default=None, description="[n_requests, seconds]")
    windows: Annotated[list[WindowIn], Field(max_length=20)] | None = None
    concurrency: Count | None = None
    budget: BudgetIn | Annotated[list[BudgetIn], Field(max_length=10)] | None = None
    max_wait: Seconds | None = Field(
        default=None, description="Seconds that a call over a limit waits; 0 refuses at once."
    )


class TimeoutsIn(Given):
    """Seconds; 0 switches a time-out off."""

    connect: Seconds | None = None
    first_byte: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None


class RetryIn(Given):
    attempts: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    base_delay: Seconds | None = None
    max_delay: Seconds | None = None
    max_retry_after: Seconds | None = None
    budget: Annotated[float, Field(strict=True, ge=0, le=1)] | None = Field(
        default=None, description="Retries may be at most this share of a connection's calls."
    )


class CircuitIn(Given):
    """After ``failures`` failed attempts in a row the connection is left alone for ``seconds``."""

    failures: Count | None = None
    seconds: Seconds | None = None


class CacheIn(Given):
    """The exact-match response cache of one model."""

    seconds: Seconds | None = None
    sampled: Flag | None = Field(default=None, description="Also keep answers that were sampled, or that call tools.")


class PriceIn(Given):
    """Dollars per million tokens, as decimal strings; ``request`` is dollars per call."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    cache_write: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None
    request: Dollars | None = None


class Window(Shown):
    unit: Literal["requests", "tokens"]
    amount: int
    seconds: float


class Budget(Shown):
    amount: str
    period: Period


class Limits(Shown):
    requests_per_minute: int | None
    tokens_per_minute: int | None
    rate_limit: tuple[int, float] | None
    windows: list[Window]
    concurrency: int | None
    budget: Budget | list[Budget] | None
    max_wait: float


class Timeouts(Shown):
    connect: float
    first_byte: float
    idle: float
    total: float


class Retry(Shown):
    attempts: int
    base_delay: float
    max_delay: float
    max_retry_after: float
    budget: float


class Circuit(Shown):
    failures: int
    seconds: float


class Cache(Shown):
    seconds: float
    sampled: bool


class Price(Shown):
    input: str
    output: str
    cached_input: str | None
    cache_write: str | None
    audio_input: str | None
    audio_output: str | None
    request: str
