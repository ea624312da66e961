"""The limiter of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from byom.limits.budget_sums import BudgetSums, SpentLoader
from byom.limits.decision import LimitRefusal, LocalGrant
from byom.limits.limiter import Grant
from byom.limits.scope_state import Block, ScopeState
from byom.limits.sliding_log import Bucket, SlidingLog
from byom.limits.streak import AFTER, Streak
from byom.limits.turns import Turns
from byom.types.limits import Scope

ALWAYS_FITS = -(1 << 200)
KEPT_STATES = 1024
"""So many states may lie idle before they are looked through."""
SWEEP_STEP = 4
"""States looked at for each new one: more than one, so that unused states go faster than new ones come."""


class Past(msgspec.Struct, frozen=True, gc=False):
    """A call of the past, for one scope: what `LocalLimiter.restore` counts again."""

    scope: str
    at: int
    """Microseconds since the epoch."""
    tokens: int
    requests: int = 1


class LocalLimiter:
    """Exact for all callers in this process. Not thread-safe: it belongs to one event loop.

    ``spent(scope_id, start)`` gives the picodollars that a scope spent since ``start`` (seconds since the
    epoch); without it, budgets begin at nothing spent. ``clock`` is monotonic, ``wall`` is the time of day
    that budgets go by.
    """

    def __init__(
        self,
        spent: SpentLoader | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._sums = BudgetSums(spent, clock, wall)
        self._states: dict[str, ScopeState] = {}
        self._past: dict[str, list[Bucket]] = {}
        self._turns = Turns(clock, self._pump)
        self.reservations = 0
        """Grants that are neither settled nor withdrawn."""
        self._streak: Streak | None = None
        """The one that counts now, or nothing does."""
        self._alike: tuple[Scope, ...] | None = None
        self._run = 0
        """So many of the last calls had the scopes ``_alike``."""

    def admit(self, scopes: tuple[Scope, ...], tokens: int, cost: int) -> LocalGrant | LimitRefusal | None:
        """See `Limiter.admit`. ``None`` only when every scope that keeps the call out allows a wait, or when what
        a budget's scope spent has to be read first."""
        now = self._clock()
        floor = cost or ALWAYS_FITS
        streak = self._streak
        if streak is not None:
            if (
                streak.scopes is scopes
                and now < streak.until
                and streak.requests > 0
                and streak.tokens >= tokens
                and streak.slots > 0
                and streak.money >= floor
            ):
                streak.last = now
                streak.requests -= 1
                streak.tokens -= tokens
                streak.slots -= 1
                streak.money -= cost
                self.reservations += 1
                return LocalGrant(0.0, now, tokens, cost, streak.holds, streak.more, False, streak)  # noqa: FBT003
            self._end_streak()
        states = self._states
        found = []
        for scope in scopes:
            state = states.get(scope.id)
            if (
                state is None
                or state.limits is not scope.limits
                or now >= state.recheck_at
                or state.waiting
                or state.slots_free < 1
                or state.budgets.free < floor
            ):
                return self._admit_carefully(scopes, tokens, cost, now)
            log = state.log
            if log.requests_free < 1 or log.tokens_free < tokens or (state.more and not state.room(tokens)):
                return self._admit_carefully(scopes, tokens, cost, now)
            found.append(state)
        grant = self._reserve(found, tokens, cost, now)
        if scopes is self._alike:
            self._run += 1
            if self._run >= AFTER and found:
                self._begin_streak(scopes, grant, now)
        else:
            self._alike, self._run = scopes, 0
        return grant

    def _begin_streak(self, scopes: tuple[Scope, ...], grant: LocalGrant, now: float) -> None:
        """Count the next calls with these scopes together with this one."""
        streak = Streak(scopes, grant.holds, grant.more, now)
        if now < streak.until:
            self._streak = grant.streak = streak

    def _end_streak(self) -> None:
        """Bring the scopes up to date: to be done before one of them is read or changed."""
        if self._streak is not None:
            self._streak.close()
            self._streak = None

    def _reserve(self, states: list[ScopeState], tokens: int, cost: int, now: float) -> LocalGrant:
        holds: list[tuple[ScopeState, Bucket]] = []
        more: list[tuple[SlidingLog, Bucket]] | None = None
        for state in states:
            state.slots_free -= 1
            if cost:
                state.budgets.free -= cost
            log = state.log
            if now < log.bucket_end:
                bucket = log.bucket
                bucket.last = now
                bucket.requests += 1
                bucket.tokens += tokens
                log.requests_free -= 1
                log.tokens_free -= tokens
            else:
                bucket = log.add(now, 1, tokens)
            holds.append((state, bucket))
            for log in state.more:
                if more is None:
                    more = []
                more.append((log, log.add(now, 1, tokens)))
        self.reservations += 1
        return LocalGrant(0.0, now, tokens, cost, holds, more)

    def _admit_carefully(
        self, scopes: tuple[Scope, ...], tokens: int, cost: int, now: float
    ) -> LocalGrant | LimitRefusal | None:
        states = self._find(scopes, now)
        if any(not state.loaded for state in states):
            return None
        blocks = self._blocks(states, tokens, cost, now, self._turns.newest + 1)
        if not blocks:
            return self._reserve(states, tokens, cost, now)
        worst = _worst(blocks)
        if worst.never or any(block.state.limits.max_wait <= 0 for block in blocks):
            return _refusal(worst)
        return None

    def _find(self, scopes: tuple[Scope, ...], now: float) -> list[ScopeState]:
        """The states of the scopes, with their counts, rules and periods up to date."""
        self._end_streak()
        if len(self._states) > KEPT_STATES:
            self._sweep_some(scopes, now)
        found = []
        for scope in scopes:
            state = self._states.get(scope.id)
            if state is None:
                state = self._create(scope, now)
            elif state.limits is not scope.limits:
                self._change(state, scope, now)
            if state.loaded and now >= state.recheck_at:
                state.recheck(now, self._wall())
            found.append(state)
        return found

    def _create(self, scope: Scope, now: float) -> ScopeState:
        loaded = self._sums.begin_at_zero or not scope.limits.budgets
        state = self._states[scope.id] = ScopeState(scope, now, self._wall(), loaded=loaded)
        if (past := self._past.pop(scope.id, None)) is not None:
            state.remember(past, now)
        return state

    def _change(self, state: ScopeState, scope: Scope, now: float) -> None:
        if state.limits == scope.limits:
            state.limits = scope.limits
            return
        state.reconfigure(scope.limits, now, self._wall(), sums_known=self._sums.begin_at_zero)
        if state.waiting:
            self._pump(state, now)

    def _blocks(self, states: list[ScopeState], tokens: int, cost: int, now: float, turn: int) -> list[Block]:
        """Everything that keeps out a call that came as number ``turn``: rules, and waiters that came before it."""
        wall = self._wall()
        blocks = []
        for state in states:
            if state.waiting and (head := state.head()) is not None and head.turn < turn:
                blocks.append(state.queue_block(now))
            elif not state.loaded:
                blocks.append(Block(state, "what was spent of the budget is being read", 1.0, firm=False, budget=True))
            elif (block := state.block(tokens, cost, now, wall)) is not None:
                blocks.append(block)
        return blocks

    async def wait(
        self, scopes: tuple[Scope, ...], tokens: int, cost: int, max_wait: float
    ) -> LocalGrant | LimitRefusal:
        """See `Limiter.wait`. Refuses at once what cannot be let in within ``max_wait`` seconds."""
        since = self._clock()
        while True:
            now = self._clock()
            states = self._find(scopes, now)
            unknown = [state for state in states if not state.loaded]
            if not unknown:
                break
            for state in unknown:
                if not await self._sums.load(state):
                    return LimitRefusal(state.id, "what was spent of the budget cannot be read now", 1.0, budget=True)
        turn = self._turns.take()
        blocks = self._blocks(states, tokens, cost, now, turn)
        if not blocks:
            grant = self._reserve(states, tokens, cost, now)
            grant.waited = now - since
            return grant
        worst = _worst(blocks)
        if max_wait <= 0 or worst.never or (worst.firm and worst.retry > max_wait):
            return _refusal(worst)
        answer = await self._turns.wait(turn, scopes, tokens, cost, since, max_wait, worst, self.withdraw)
        return _refusal(answer) if isinstance(answer, Block) else answer

    def _pump(self, state: ScopeState, now: float) -> None:
        """Let in waiters of this scope, in order, until the first one does not fit."""
        self._end_streak()
        while (waiter := state.head()) is not None:
            states = self._find_known(waiter.scopes, state, now)
            blocks = self._blocks(states, waiter.tokens, waiter.cost, now, waiter.turn)
            if not blocks:
                state.leave(waiter)
                grant = self._reserve(states, waiter.tokens, waiter.cost, now)
                grant.waited = now - waiter.since
                waiter.future.set_result(grant)
                continue
            worst = _worst(blocks)
            if worst.state is state:
                self._turns.due(state, worst, now)
                return
            state.leave(waiter)
            self._turns.queue(waiter, worst, now)

    def _find_known(self, scopes: tuple[Scope, ...], pumped: ScopeState, now: float) -> list[ScopeState]:
        """As `_find`, for a waiter: the rules that hold now count, not those at the time it came."""
        found = []
        for scope in scopes:
            state = pumped if scope.id == pumped.id else self._states.get(scope.id) or self._create(scope, now)
            if state.loaded and now >= state.recheck_at:
                state.recheck(now, self._wall())
            found.append(state)
        return found

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        """See `Limiter.settle`. Frees the slots at once and lets waiters in."""
        if not isinstance(grant, LocalGrant):
            raise TypeError(f"not a grant of this limiter: {type(grant).__name__}")
        if grant.settled:
            return
        grant.settled = True
        self.reservations -= 1
        extra_tokens = tokens - grant.tokens
        extra_cost = cost - grant.cost
        streak = grant.streak
        if streak is not None and streak.open:
            streak.slots += 1
            streak.tokens -= extra_tokens
            streak.money -= extra_cost
            return
        if (present := self._streak) is not None:
            if streak is not None and present.scopes is streak.scopes and streak.counted:
                present.shift(extra_tokens, extra_cost)
            else:
                self._end_streak()
        self._settle_in_scopes(grant, extra_tokens, extra_cost)
        for state, _ in grant.holds:
            if state.waiting:
                self._pump(state, self._clock())

    def _settle_in_scopes(self, grant: LocalGrant, extra_tokens: int, extra_cost: int) -> None:
        for state, bucket in grant.holds:
            state.slots_free += 1
            if extra_tokens:
                if bucket.live:
                    bucket.tokens += extra_tokens
                    state.log.tokens_free -= extra_tokens
                else:
                    state.log.settle(bucket, extra_tokens, self._clock())
            if extra_cost:
                if grant.at >= state.budgets.rolled_at:
                    state.budgets.free -= extra_cost
                else:
                    state.budgets.settle_late(extra_cost, grant.at)
        for log, bucket in grant.more or ():
            log.settle(bucket, extra_tokens, self._clock())

    def withdraw(self, grant: Grant) -> None:
        """Undo an admission: for a call that was let in and then not made. Idempotent, and never after ``settle``."""
        if not isinstance(grant, LocalGrant):
            raise TypeError(f"not a grant of this limiter: {type(grant).__name__}")
        if grant.settled:
            return
        self._end_streak()
        for state, bucket in grant.holds:
            state.log.withdraw(bucket, grant.tokens)
        for log, bucket in grant.more or ():
            log.withdraw(bucket, grant.tokens)
        # The tokens are out of every window now: what is left to settle is the slot and the money.
        grant.tokens = 0
        self.settle(grant, 0, 0)

    def hold(self, scopes: tuple[Scope, ...], tokens: int, cost: int) -> LocalGrant:
        """Count a call that is running already, whether it fits or not."""
        now = self._clock()
        return self._reserve(self._find(scopes, now), tokens, cost, now)

    def restore(self, calls: Iterable[Past]) -> None:
        """Count calls of before this process's start, so that windows hold across a restart. In any order.

        Calls of scopes that are not in use yet are kept aside until they are.
        """
        self._end_streak()
        now, wall = self._clock(), self._wall()
        for call in sorted(calls, key=lambda call: call.at):
            at = min(now, now - (wall - call.at / 1e6))
            self._past.setdefault(call.scope, []).append(Bucket(at, call.requests, call.tokens))
        for scope_id in [scope_id for scope_id in self._past if scope_id in self._states]:
            self._states[scope_id].remember(self._past.pop(scope_id), now)

    async def preload(self, scopes: Iterable[Scope]) -> None:
        """Read the budgets' sums of these scopes now, so that no call has to wait for it."""
        now = self._clock()
        for state in self._find(tuple(scope for scope in scopes if scope.limits.budgets), now):
            if not state.loaded:
                await self._sums.load(state)

    def in_flight(self, scope_id: str) -> int:
        """Calls of this scope that are let in and not settled."""
        self._end_streak()
        state = self._states.get(scope_id)
        return 0 if state is None else state.in_flight

    def waiting(self, scope_id: str) -> int:
        """Calls that wait because of this scope."""
        state = self._states.get(scope_id)
        return 0 if state is None else state.waiting

    def __len__(self) -> int:
        """Scopes with state in memory."""
        return len(self._states)

    def sweep(self) -> None:
        """Forget every scope that nothing depends on any more. Happens bit by bit on its own, too."""
        self._end_streak()
        now = self._clock()
        for state in list(self._states.values()):
            if state.idle(now, can_reload=not self._sums.begin_at_zero):
                del self._states[state.id]

    def _sweep_some(self, scopes: tuple[Scope, ...], now: float) -> None:
        """Make room for the scopes that are new. Not after they were looked up: they may be among the idle ones."""
        states = self._states
        for _ in range(SWEEP_STEP * sum(scope.id not in states for scope in scopes)):
            oldest = next(iter(states))
            state = states.pop(oldest)
            if not state.idle(now, can_reload=not self._sums.begin_at_zero):
                states[oldest] = state


def _worst(blocks: list[Block]) -> Block:
    return max(blocks, key=lambda block: (block.never, block.retry))


def _refusal(block: Block) -> LimitRefusal:
    return LimitRefusal(block.state.id, block.rule, block.retry, block.budget, block.never)
