"""Calls that are alike, one after the other: counted together, and written to their scopes when somebody looks.

A busy caller makes thousands of calls a second under the same scopes. Counting each of them in every scope at once
gives the same decisions as counting them in one place for as long as nobody else touches any of these scopes - so that
is what a streak does. It stands for its scopes' free room, and is closed (its sums go to the scopes) before anything
else reads or writes one of them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byom.limits.scope_state import ScopeState
    from byom.limits.sliding_log import Bucket, SlidingLog
    from byom.types.limits import Scope

AFTER = 4
"""Calls with the same scopes, with none of others between them, after which a streak is worth its opening."""


class Streak:
    """A limiter has one at most.

    ``requests``, ``tokens``, ``slots`` and ``money`` are the smallest room among the scopes, as long as it is open.

    All its calls are counted in the same bucket of each window: it ends with the first of these buckets (``until``).
    """

    __slots__ = (
        "_base",
        "_since",
        "holds",
        "last",
        "money",
        "more",
        "open",
        "requests",
        "scopes",
        "slots",
        "tokens",
        "until",
    )

    def __init__(
        self,
        scopes: tuple[Scope, ...],
        holds: list[tuple[ScopeState, Bucket]],
        more: list[tuple[SlidingLog, Bucket]] | None,
        now: float,
    ) -> None:
        self.scopes = scopes
        self.holds = holds
        self.more = more
        self._since = self.last = now
        self.open = True
        states = [state for state, _ in holds]
        logs = [state.log for state in states] + [log for log, _ in more or ()]
        self.until = min([log.bucket_end for log in logs] + [state.recheck_at for state in states], default=-inf)
        self.requests = min(log.requests_free for log in logs)
        self.tokens = min(log.tokens_free for log in logs)
        self.slots = min(state.slots_free for state in states)
        self.money = min(state.budgets.free for state in states)
        self._base = (self.requests, self.tokens, self.slots, self.money)

    @property
    def counted(self) -> bool:
        """Every window still counts the bucket of these calls, and every budget the period."""
        return all(bucket.live and state.budgets.rolled_at <= self._since for state, bucket in self.holds) and all(
            bucket.live for _, bucket in self.more or ()
        )

    def shift(self, tokens: int, money: int) -> None:
        """A call of an earlier streak of the same scopes has ended: its slot is free in all of them, and they have
        counted ``tokens`` and ``money`` more."""
        requests, first_tokens, slots, first_money = self._base
        self.slots += 1
        self.tokens -= tokens
        self.money -= money
        self._base = (requests, first_tokens - tokens, slots + 1, first_money - money)

    def close(self) -> None:
        """Write what was counted to the scopes."""
        self.open = False
        first_requests, first_tokens, first_slots, first_money = self._base
        requests, tokens = first_requests - self.requests, first_tokens - self.tokens
        slots, money = first_slots - self.slots, first_money - self.money
        for state, bucket in self.holds:
            state.slots_free -= slots
            state.budgets.free -= money
            self._count(state.log, bucket, requests, tokens)
        for log, bucket in self.more or ():
            self._count(log, bucket, requests, tokens)

    def _count(self, log: SlidingLog, bucket: Bucket, requests: int, tokens: int) -> None:
        log.requests_free -= requests
        log.tokens_free -= tokens
        bucket.requests += requests
        bucket.tokens += tokens
        bucket.last = max(bucket.last, self.last)
