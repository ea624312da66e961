"""What scopes spent before they were last heard of, read from the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from byom.limits.scope_state import ScopeState
from byom.types.limits import Period

SpentLoader = Callable[[str, float], Awaitable[int]]
"""``spent(scope_id, start)``: picodollars since ``start``, in seconds since the epoch."""

_log = logging.getLogger(__name__)


class BudgetSums:
    """Loads the sums of a state once, however many calls wait for them."""

    def __init__(self, spent: SpentLoader | None, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._spent = spent
        self._clock = clock
        self._wall = wall
        self._loading: dict[str, asyncio.Task[bool]] = {}

    @property
    def begin_at_zero(self) -> bool:
        return self._spent is None

    async def load(self, state: ScopeState) -> bool:
        """Whether the sums could be read. A caller that is cancelled does not stop the others' reading."""
        task = self._loading.get(state.id)
        if task is None:
            task = self._loading[state.id] = asyncio.ensure_future(self._read(state))
            task.add_done_callback(lambda _: self._loading.pop(state.id, None))
        return await asyncio.shield(task)

    async def _read(self, state: ScopeState) -> bool:
        if self._spent is None or state.loaded:
            return True
        state.budgets.roll(self._clock(), self._wall())
        starts = state.budgets.unknown()
        sums: dict[Period, int] = {}
        try:
            for period, start in starts.items():
                sums[period] = await self._spent(state.id, start)
        except Exception:  # noqa: BLE001  whatever the loader's database raises: what cannot be read lets nothing in
            _log.warning("cannot read what %s has spent", state.id, exc_info=True)
            return False
        if state.budgets.unknown() != starts:
            return await self._read(state)
        state.budgets.set_spent(sums)
        state.load(self._clock(), self._wall())
        return True
