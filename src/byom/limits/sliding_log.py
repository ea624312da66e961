"""An exact sliding window in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

import msgspec

UNLIMITED = 1 << 60
"""Stands for "no limit": far above any sum, so that the arithmetic needs no branch."""

EXACT_BUCKETS = 512
"""Up to so many calls in the window, each has its own bucket."""
MERGED_BUCKETS = 4096
"""Beyond that, calls closer together than ``seconds / MERGED_BUCKETS`` share one, which expires with its last call."""


class Bucket(msgspec.Struct, gc=False, eq=False):
    """Calls let in at (nearly) the same time."""

    last: float
    requests: int
    tokens: int
    live: bool = True
    """Still counted by the window it belongs to."""


class SlidingLog:
    """The calls of the last ``seconds``: what all windows of that length in one scope share.

    Never lets more than the limit be counted in any half-open interval of ``seconds``. Expired calls are
    taken out only when the room runs short, so ``requests_free`` and ``tokens_free`` are what is free at
    least; `evict` makes them what is free exactly. ``tokens_free`` is negative when calls used more than
    they had reserved.
    """

    __slots__ = (
        "bucket",
        "bucket_end",
        "buckets",
        "requests_free",
        "requests_limit",
        "seconds",
        "tokens_free",
        "tokens_limit",
        "width",
    )

    def __init__(self, seconds: float, requests_limit: int = UNLIMITED, tokens_limit: int = UNLIMITED) -> None:
        self.seconds = seconds
        self.requests_limit = self.requests_free = requests_limit
        self.tokens_limit = self.tokens_free = tokens_limit
        self.buckets: deque[Bucket] = deque()
        self.width = seconds / MERGED_BUCKETS
        self.bucket = Bucket(-inf, 0, 0)
        self.bucket_end = -inf
        """Calls before this time go into ``bucket``."""

    @classmethod
    def absent(cls) -> SlidingLog:
        """The log of a scope without windows: one bucket for ever, and nothing ever runs short."""
        log = cls(inf)
        log.bucket_end = inf
        return log

    def add(self, now: float, requests: int, tokens: int) -> Bucket:
        """Count a call in a new bucket (or the current one, where calls are dense)."""
        self.requests_free -= requests
        self.tokens_free -= tokens
        if now < self.bucket_end:
            bucket = self.bucket
            bucket.last = now
            bucket.requests += requests
            bucket.tokens += tokens
            return bucket
        if len(self.buckets) >= EXACT_BUCKETS:
            self.evict(now)
        dense = len(self.buckets) >= EXACT_BUCKETS
        bucket = self.bucket = Bucket(now, requests, tokens)
        self.bucket_end = now + self.width if dense else -inf
        self.buckets.append(bucket)
        return bucket

    def evict(self, now: float) -> None:
        """Stop counting what is older than the window."""
        buckets, seconds = self.buckets, self.seconds
        while buckets and buckets[0].last + seconds <= now:
            bucket = buckets.popleft()
            bucket.live = False
            self.requests_free += bucket.requests
            self.tokens_free += bucket.tokens

    def settle(self, bucket: Bucket, surplus: int, now: float) -> None:
        """A call of ``bucket`` used ``surplus`` tokens more (or, negative, less) than it had reserved."""
        if bucket.live:
            bucket.tokens += surplus
            self.tokens_free -= surplus
        elif surplus > 0:
            # The reservation has left the window. What it did not cover was counted in no window yet.
            self.add(now, 0, surplus)

    def withdraw(self, bucket: Bucket, tokens: int) -> None:
        """Take a call out again as if it had not been."""
        if bucket.live:
            bucket.requests -= 1
            bucket.tokens -= tokens
            self.requests_free += 1
            self.tokens_free += tokens

    def requests_due(self) -> float:
        """The time at which one more request fits. Call it when none does."""
        missing = 1 - self.requests_free
        for bucket in self.buckets:
            missing -= bucket.requests
            if missing <= 0:
                return bucket.last + self.seconds
        return inf

    def tokens_due(self, tokens: int) -> float:
        """The time at which ``tokens`` fit; infinite when they are more than the limit."""
        missing = tokens - self.tokens_free
        for bucket in self.buckets:
            missing -= bucket.tokens
            if missing <= 0:
                return bucket.last + self.seconds
        return inf

    def take_over(self, buckets: Iterable[Bucket], now: float) -> None:
        """Continue with the calls of another log, oldest first."""
        for bucket in buckets:
            self.buckets.append(bucket)
            self.requests_free -= bucket.requests
            self.tokens_free -= bucket.tokens
        self.evict(now)

    def restart(self) -> None:
        """Count nothing; the buckets are the caller's from now on."""
        self.buckets.clear()
        self.requests_free, self.tokens_free = self.requests_limit, self.tokens_limit
        self.bucket = Bucket(-inf, 0, 0)
        self.bucket_end = inf if self.seconds == inf else -inf

    def set_limits(self, requests_limit: int, tokens_limit: int) -> None:
        """New limits for the same calls."""
        self.requests_free += requests_limit - self.requests_limit
        self.tokens_free += tokens_limit - self.tokens_limit
        self.requests_limit, self.tokens_limit = requests_limit, tokens_limit

    def drop(self) -> None:
        """This log is no longer used: calls in flight must not settle into it."""
        self.bucket.live = False
        for bucket in self.buckets:
            bucket.live = False
