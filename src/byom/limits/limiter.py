"""The seam of the limiter. `byom.limits.local` is the one in this process."""

from __future__ import annotations

from typing import Protocol

from byom.limits.decision import LimitRefusal
from byom.types.limits import Scope


class Grant(Protocol):
    """A call that was let in. It holds its reservations until it is settled, exactly once."""

    waited: float
    """Seconds spent waiting for the turn."""


class Limiter(Protocol):
    """Exact for all callers that share it. Not thread-safe: it belongs to one event loop."""

    def admit(self, scopes: tuple[Scope, ...], tokens: int, cost: int) -> Grant | LimitRefusal | None:
        """Decide at once, reserving one request, ``tokens`` and ``cost`` (picodollars) in every scope or in none.

        ``None`` when the decision needs a wait: call `wait`. Empty ``scopes`` always give a grant.
        """

    async def wait(self, scopes: tuple[Scope, ...], tokens: int, cost: int, max_wait: float) -> Grant | LimitRefusal:
        """As `admit`, but stay in the queue (first in, first out per scope) for at most ``max_wait`` seconds.

        Cancelling the wait leaves the queue and counts nowhere.
        """

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        """Replace the reservation by what was really used and free the concurrency slot. Idempotent."""

    def withdraw(self, grant: Grant) -> None:
        """Undo an admission: for a call that was let in and then not made. Idempotent, never after `settle`."""
