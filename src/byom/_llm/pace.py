"""A model's own rate limit, which holds from one event loop to the next: a notebook may begin several."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque

from byom.limits.decision import LimitRefusal
from byom.limits.limiter import Grant
from byom.limits.local import LocalLimiter, Past
from byom.types.limits import Limits, Scope, Window

LONGEST_WAIT = 30 * 86400.0
"""Seconds that a call waits for its turn: in a program's own run nobody wants to be refused instead."""


def scopes_of(rate_limit: tuple[int, float] | None) -> tuple[Scope, ...]:
    """The scope of ``(n_requests, seconds)``, unlike every other one; none without a limit."""
    if rate_limit is None:
        return ()
    window = Window("requests", *rate_limit)
    return (Scope(f"model:{uuid.uuid4().hex}", Limits(windows=(window,), max_wait=LONGEST_WAIT)),)


class Pace:
    """A `byom.limits.limiter.Limiter` for one model. One event loop at a time."""

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        self._scopes = scopes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limiter = LocalLimiter(wall=time.monotonic)
        most = max((window.amount for scope in scopes for window in scope.limits.windows), default=0)
        self._begun: deque[int] = deque(maxlen=most)

    def admit(self, scopes: tuple[Scope, ...], tokens: int, cost: int) -> Grant | LimitRefusal | None:
        return self._noted(self._current().admit(scopes, tokens, cost))

    async def wait(self, scopes: tuple[Scope, ...], tokens: int, cost: int, max_wait: float) -> Grant | LimitRefusal:
        answer = await self._current().wait(scopes, tokens, cost, max_wait)
        self._noted(answer)
        return answer

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        self._limiter.settle(grant, tokens, cost)

    def withdraw(self, grant: Grant) -> None:
        self._limiter.withdraw(grant)

    def _noted(self, answer: Grant | LimitRefusal | None) -> Grant | LimitRefusal | None:
        if answer is not None and not isinstance(answer, LimitRefusal):
            self._begun.append(time.monotonic_ns() // 1000)
        return answer

    def _current(self) -> LocalLimiter:
        """A limiter's timers end with their loop; what it counted must not."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._limiter = loop, LocalLimiter(wall=time.monotonic)
            self._limiter.restore(Past(scope.id, at, 0) for scope in self._scopes for at in self._begun)
        return self._limiter
