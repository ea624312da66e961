"""What a limit is. The limiter that enforces it is `byom.limits`."""

from __future__ import annotations

from typing import Literal

import msgspec

Period = Literal["hour", "day", "week", "month", "total"]


class Window(msgspec.Struct, frozen=True):
    """At most ``amount`` of ``unit`` in any ``seconds`` seconds: an exact sliding window."""

    unit: Literal["requests", "tokens"]
    amount: int
    seconds: float


class Concurrency(msgspec.Struct, frozen=True):
    """At most ``amount`` calls at the same time."""

    amount: int


class Budget(msgspec.Struct, frozen=True):
    """At most ``amount`` picodollars in each calendar period. Periods begin at 00:00 UTC, weeks on Monday."""

    amount: int
    period: Period = "month"


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """The limits of one scope (a key, a model, a connection, a user)."""

    windows: tuple[Window, ...] = ()
    concurrency: int | None = None
    budgets: tuple[Budget, ...] = ()
    max_wait: float = 0.0
    """Seconds that a call over the limit waits for its turn before it is refused with 429; 0 refuses at once."""

    def __bool__(self) -> bool:
        return bool(self.windows or self.budgets or self.concurrency is not None)


class Scope(msgspec.Struct, frozen=True):
    """A thing that has limits. ``id`` is unique over all kinds: ``key:ab12``, ``model:m1``, ``connection:c1``."""

    id: str
    limits: Limits
