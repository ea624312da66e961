"""A call that a worker runs, seen from the front."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from byom.errors import ByomError
from byom.host.code.errors import CodeTimeout

WINDOW = 32
"""Events that may be under way to a reader who has not taken them."""


class Ongoing:
    """One call: events in order, then a result or an error.

    ``left`` is true from the moment on at which nobody waits for it; the code may still run.
    """

    def __init__(self, number: int, model: str, on_taken: Callable[[int, int], None]) -> None:
        self.id = number
        self.model = model
        self.begun = 0.0
        self.request_id = ""
        self.left = False
        self.ended = False
        """Whether the code has come to its end."""
        self._on_taken = on_taken
        self._events: deque[dict[str, Any]] = deque()
        self._taken = 0
        self._result: dict[str, Any] | None = None
        self._error: ByomError | None = None
        self._wake: asyncio.Future[None] | None = None

    # --- what the worker says

    def add(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._rouse()

    def end(self, result: dict[str, Any] | None = None, error: ByomError | None = None) -> None:
        if not self.ended:
            self.ended, self._result, self._error = True, result, error
            self._rouse()

    def fail(self, error: ByomError) -> None:
        """The caller is told at once, though the code goes on."""
        self._error = self._error or error
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # --- what the caller reads

    async def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event; ``None`` at the end. Raises the call's error, or `CodeTimeout`."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.ended:
                return None
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._wake, timeout)
            except TimeoutError:
                raise CodeTimeout(f"The code of model {self.model} gave no answer within {timeout:g} s.") from None
        self._taken += 1
        if self._taken == WINDOW // 2:
            self._on_taken(self.id, self._taken)
            self._taken = 0
        return self._events.popleft()

    async def result(self, timeout: float) -> dict[str, Any]:
        """What the call made. Raises as `next` does."""
        while await self.next(timeout) is not None:
            pass
        return self._result or {}
