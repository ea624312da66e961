"""What the limiter answers: a grant or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from byom.limits.scope_state import ScopeState
    from byom.limits.sliding_log import Bucket, SlidingLog
    from byom.limits.streak import Streak


class LocalGrant(msgspec.Struct, gc=False, eq=False):
    """A call that was let in by `LocalLimiter`. Give it back with ``settle``, or ``withdraw`` it."""

    waited: float
    """Seconds spent waiting for the turn."""
    at: float
    """Clock time of the admission."""
    tokens: int
    cost: int
    holds: list[tuple[ScopeState, Bucket]]
    more: list[tuple[SlidingLog, Bucket]] | None = None
    """Buckets of scopes that have windows of more than one length."""
    settled: bool = False
    streak: Streak | None = None
    """What it was counted in, while that is open."""


class LimitRefusal(msgspec.Struct, frozen=True, gc=False):
    """A call that was not let in; it was counted nowhere."""

    scope: str
    rule: str
    """What refused it, in words: ``60 requests per 60 s``."""
    retry_after: float
    """Seconds until it could be let in, were nobody else to come first; infinite when `never`.

    A concurrency limit frees up when a call ends, which nobody knows: one second is suggested then.
    """
    budget: bool = False
    """The money of a period is spent, rather than a rate exceeded."""
    never: bool = False
    """Waiting does not help: it alone is larger than the limit, or the budget has no next period."""
