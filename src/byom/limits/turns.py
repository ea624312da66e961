"""Who waits, whose turn it is next, and when to look again."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from math import inf

from byom.limits.decision import LocalGrant
from byom.limits.scope_state import Block, ScopeState
from byom.limits.waiter import Waiter
from byom.types.limits import Scope

Answer = LocalGrant | Block
SHORTEST_TIMER = 0.001


class Turns:
    """The queues of all scopes and the one timer that serves them.

    ``pump(state, now)`` lets in those waiters of a scope that fit.
    """

    def __init__(self, clock: Callable[[], float], pump: Callable[[ScopeState, float], None]) -> None:
        self._clock = clock
        self._pump = pump
        self._agenda: list[tuple[float, int, ScopeState]] = []
        self._entries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self.newest = 0
        """A turn no older than any that was taken."""

    def take(self) -> int:
        self.newest += 1
        return self.newest

    async def wait(
        self,
        turn: int,
        scopes: tuple[Scope, ...],
        tokens: int,
        cost: int,
        since: float,
        max_wait: float,
        block: Block,
        withdraw: Callable[[LocalGrant], None],
    ) -> Answer:
        """Wait in the queue of ``block``'s scope until let in, or until ``max_wait`` seconds are over."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(turn, scopes, tokens, cost, since, loop.create_future())
        self.queue(waiter, block, self._clock())
        deadline = loop.call_later(max_wait, self._expire, waiter)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._leave(waiter)
            if waiter.future.done() and not waiter.future.cancelled():
                answer = waiter.future.result()
                if isinstance(answer, LocalGrant):
                    withdraw(answer)
            raise
        finally:
            deadline.cancel()

    def queue(self, waiter: Waiter, block: Block, now: float) -> None:
        """Put the waiter into the queue of the scope that keeps it out."""
        waiter.block = block
        state = block.state
        state.push(waiter)
        if state.head() is waiter:
            self.due(state, block, now)

    def due(self, state: ScopeState, block: Block, now: float) -> None:
        """The first waiter of ``state`` is kept out by ``block``: look again when time may have let it in."""
        state.head_block = block
        state.due = inf if block.ends else now + block.retry
        if state.due < inf:
            self._entries += 1
            heapq.heappush(self._agenda, (state.due, self._entries, state))
            self._set_timer(now)

    def _leave(self, waiter: Waiter) -> None:
        if waiter.state is not None:
            waiter.state.leave(waiter)
        state = waiter.block.state
        if state.waiting:
            # It may have been the first, and the next may need less.
            self._pump(state, self._clock())

    def _expire(self, waiter: Waiter) -> None:
        state, now = waiter.state, self._clock()
        if state is None or waiter.future.done():
            return
        block = waiter.block
        if state.head() is not waiter:
            block = state.queue_block(now)
        elif not block.ends:
            block = block.later(state.due - now)
        state.leave(waiter)
        waiter.future.set_result(block)
        self._leave(waiter)

    def _set_timer(self, now: float) -> None:
        when = self._agenda[0][0]
        if when >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        # An event loop may count in milliseconds and come early: it looks again then.
        delay = max(when - now, SHORTEST_TIMER if when > now else 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, inf
        now = self._clock()
        while self._agenda and self._agenda[0][0] <= now:
            due, _, state = heapq.heappop(self._agenda)
            if state.waiting and state.due == due:
                self._pump(state, now)
        while self._agenda and (not self._agenda[0][2].waiting or self._agenda[0][2].due != self._agenda[0][0]):
            heapq.heappop(self._agenda)
        if self._agenda:
            self._set_timer(now)
