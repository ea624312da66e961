"""Everything that is counted for one scope."""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING

import msgspec

from byom.limits.budget import Budgets, budget_in_words
from byom.limits.sliding_log import UNLIMITED, Bucket, SlidingLog
from byom.types.limits import Limits, Scope, Window

if TYPE_CHECKING:
    from byom.limits.waiter import Waiter

IDLE_SECONDS = 600.0
"""Budget sums are forgotten after so long without a call, where they can be read again."""
CONCURRENCY_RETRY = 1.0


class Block(msgspec.Struct, gc=False):
    """Why a call cannot be let in now."""

    state: ScopeState
    rule: str
    retry: float
    """Seconds until time alone lets it in."""
    firm: bool
    """Time alone can let it in: no call that ends earlier changes that."""
    budget: bool = False
    never: bool = False
    ends: bool = False
    """Only the end of a call can let it in; ``retry`` is a guess."""

    def later(self, retry: float) -> Block:
        """The same, with the seconds that are left now."""
        return Block(self.state, self.rule, max(0.0, retry), self.firm, self.budget, self.never)


def window_in_words(window: Window) -> str:
    """``60 requests per 60 s``."""
    unit = window.unit if window.amount != 1 else window.unit[:-1]
    return f"{window.amount} {unit} per {window.seconds:g} s"


def tightest(windows: tuple[Window, ...]) -> dict[float, tuple[int, int]]:
    """For each length in seconds, the lowest limit of requests and of tokens."""
    limits: dict[float, tuple[int, int]] = {}
    for window in windows:
        requests, tokens = limits.get(window.seconds, (UNLIMITED, UNLIMITED))
        if window.unit == "requests":
            limits[window.seconds] = (min(requests, window.amount), tokens)
        else:
            limits[window.seconds] = (requests, min(tokens, window.amount))
    return limits


class ScopeState:
    """Counters and queue of one scope. The limiter's hot path reads and writes the fields directly."""

    __slots__ = (
        "budgets",
        "checked_at",
        "due",
        "head_block",
        "heap",
        "id",
        "limits",
        "loaded",
        "log",
        "more",
        "recheck_at",
        "slots",
        "slots_free",
        "waiting",
    )

    def __init__(self, scope: Scope, now: float, wall: float, *, loaded: bool) -> None:
        self.id = scope.id
        self.limits = scope.limits
        self.slots = self.slots_free = UNLIMITED if scope.limits.concurrency is None else scope.limits.concurrency
        logs = [SlidingLog(seconds, *limit) for seconds, limit in tightest(scope.limits.windows).items()]
        self.log = logs[0] if logs else SlidingLog.absent()
        """The windows of one length: nearly always all there are."""
        self.more = tuple(logs[1:])
        self.budgets = Budgets(scope.limits.budgets, now, wall, known=loaded)
        self.loaded = loaded
        """The sums of the budgets are known."""
        self.recheck_at = self.budgets.recheck_at if loaded else -inf
        """The hot path may not be taken from this time on."""
        self.checked_at = now
        self.heap: list[Waiter] = []
        """Waiters in order of arrival; some may have left already."""
        self.waiting = 0
        """Waiters that are still there."""
        self.due = inf
        """When time alone lets the first waiter in."""
        self.head_block: Block | None = None

    @property
    def in_flight(self) -> int:
        return self.slots - self.slots_free

    def recheck(self, now: float, wall: float) -> None:
        self.budgets.roll(now, wall)
        self.recheck_at = self.budgets.recheck_at
        self.checked_at = now

    def reconfigure(self, limits: Limits, now: float, wall: float, *, sums_known: bool) -> None:
        """Take new rules and keep the counters. The sum of a new budget period is known to be nothing, or not."""
        self.limits = limits
        slots = UNLIMITED if limits.concurrency is None else limits.concurrency
        self.slots_free += slots - self.slots
        self.slots = slots
        self._replace_logs(tightest(limits.windows), now)
        self.budgets.change(limits.budgets, now, wall, known=sums_known)
        self.loaded = not self.budgets.unknown()
        self.recheck_at = self.budgets.recheck_at if self.loaded else -inf

    def _replace_logs(self, wanted: dict[float, tuple[int, int]], now: float) -> None:
        old = {log.seconds: log for log in (self.log, *self.more)}
        history = max(old.values(), key=lambda log: log.seconds if log.buckets else 0.0)
        kept = {seconds: old.pop(seconds) for seconds in wanted if seconds in old}
        for seconds, log in kept.items():
            log.set_limits(*wanted[seconds])
        past = list(history.buckets)
        primary_stays = self.log.seconds in kept
        logs = [self.log] if primary_stays else []
        for seconds, limit in wanted.items():
            log = kept.get(seconds) or SlidingLog(seconds, *limit)
            if seconds not in kept:
                # Calls in flight settle into `self.log`, so the buckets themselves move there. Elsewhere copies do.
                moved = not logs and history is self.log
                if moved:
                    history.restart()
                log.take_over(past if moved else map(_copy, past), now)
            if log is not self.log or not primary_stays:
                logs.append(log)
        for log in old.values():
            log.drop()
        self.log = logs[0] if logs else SlidingLog.absent()
        self.more = tuple(logs[1:])

    def block(self, tokens: int, cost: int, now: float, wall: float) -> Block | None:
        """What keeps this call out for longest, or ``None``. Does not look at the queue."""
        blocks: list[Block] = []
        for log in (self.log, *self.more):
            log.evict(now)
            if log.requests_free < 1:
                blocks.append(self._requests_block(log, now))
            if log.tokens_free < tokens:
                blocks.append(self._tokens_block(log, tokens, now))
        if self.slots_free < 1:
            rule = f"{self.slots} call{'s' if self.slots != 1 else ''} at the same time"
            none_ever = self.slots < 1
            retry = inf if none_ever else CONCURRENCY_RETRY
            blocks.append(Block(self, rule, retry, firm=False, never=none_ever, ends=True))
        if (short := self.budgets.shortest(cost, wall)) is not None:
            period, retry = short
            firm = self.in_flight == 0
            blocks.append(Block(self, budget_in_words(period), retry, firm, budget=True, never=retry == inf))
        if not blocks:
            return None
        return max(blocks, key=lambda block: (block.never, block.retry))

    def _requests_block(self, log: SlidingLog, now: float) -> Block:
        rule = window_in_words(Window("requests", log.requests_limit, log.seconds))
        retry = max(0.0, log.requests_due() - now)
        return Block(self, rule, retry, firm=True, never=retry == inf)

    def _tokens_block(self, log: SlidingLog, tokens: int, now: float) -> Block:
        rule = window_in_words(Window("tokens", log.tokens_limit, log.seconds))
        if tokens > log.tokens_limit:
            return Block(self, f"{rule}; this call alone needs {tokens}", inf, firm=True, never=True)
        retry = max(0.0, log.tokens_due(tokens) - now)
        return Block(self, rule, retry, firm=self.in_flight == 0)

    def queue_block(self, now: float) -> Block:
        """Others came before: their rule is what keeps a call out, and it cannot be let in before them."""
        first = self.head_block
        if first is None or first.ends:
            rule = first.rule if first is not None else "others came first"
            return Block(self, rule, CONCURRENCY_RETRY, firm=False, ends=True)
        return Block(self, first.rule, max(0.0, self.due - now), firm=False, budget=first.budget)

    def remember(self, buckets: list[Bucket], now: float) -> None:
        """Count calls of before a restart, oldest first."""
        for log in (self.log, *self.more):
            known = list(log.buckets)
            log.restart()
            past = [_copy(bucket) for bucket in buckets if bucket.last + log.seconds > now]
            log.take_over(sorted([*past, *known], key=lambda bucket: bucket.last), now)

    def load(self, now: float, wall: float) -> None:
        """The sums of the budgets are known from now on."""
        self.loaded = True
        self.recheck(now, wall)

    def room(self, tokens: int) -> bool:
        """The further windows have room for sure."""
        for log in self.more:  # noqa: SIM110  a generator costs three times as much on this path
            if log.requests_free < 1 or log.tokens_free < tokens:
                return False
        return True

    def push(self, waiter: Waiter) -> None:
        heapq.heappush(self.heap, waiter)
        waiter.state = self
        self.waiting += 1

    def leave(self, waiter: Waiter) -> None:
        """The waiter stays in the heap until it comes to the front, and is passed over then."""
        waiter.state = None
        self.waiting -= 1
        if not self.waiting:
            self.heap.clear()

    def head(self) -> Waiter | None:
        """The waiter whose turn is next."""
        while self.heap:
            waiter = self.heap[0]
            if waiter.state is not self:
                heapq.heappop(self.heap)
            elif waiter.future.done():
                self.leave(waiter)  # cancelled a moment ago
            else:
                return waiter
        return None

    def idle(self, now: float, *, can_reload: bool) -> bool:
        """Forgetting this state changes no decision."""
        if self.waiting or self.in_flight:
            return False
        for log in (self.log, *self.more):
            log.evict(now)
            if log.buckets:
                return False
        if not self.budgets.periods:
            return True
        return (can_reload and now - self.checked_at > IDLE_SECONDS) or self.budgets.untouched


def _copy(bucket: Bucket) -> Bucket:
    return Bucket(bucket.last, bucket.requests, bucket.tokens)
