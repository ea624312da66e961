"""Calls that wait for a worker: first come, first served, and no more than so many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from byom.host.code.errors import HostBusy
from byom.host.code.ongoing import Ongoing
from byom.host.code.worker import Worker

_SMOOTHING = 0.1


@dataclass(slots=True, frozen=True)
class Begun:
    """A call that a worker has been given."""

    worker: Worker
    call: Ongoing


@dataclass(slots=True, eq=False)
class _Waiting:
    model: str
    begin: Callable[[Worker], Ongoing]
    turn: asyncio.Future[Begun]


class CallQueue:
    """Gives calls to workers.

    Args:
        choose: a worker with room for a model, or ``None``.
    """

    def __init__(self, choose: Callable[[str], Worker | None]) -> None:
        self.limit = 256
        self._choose = choose
        self._waiting: deque[_Waiting] = deque()
        self._per_call = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    async def give(self, model: str, begin: Callable[[Worker], Ongoing], timeout: float) -> Begun:
        """Begins the call as soon as a worker has room. Raises `HostBusy`: full, or not in time."""
        if not any(each.model == model for each in self._waiting):
            worker = self._choose(model)
            if worker is not None:
                return Begun(worker, begin(worker))
        if len(self._waiting) >= self.limit:
            raise HostBusy("The host has no room for another call: its queue is full.", retry_after=self._estimate())
        place = _Waiting(model, begin, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            await asyncio.wait({place.turn}, timeout=timeout)
        except asyncio.CancelledError:
            if place.turn.done() and place.turn.exception() is None:
                begun = place.turn.result()
                begun.worker.leave(begun.call)
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
        if not place.turn.done():
            raise HostBusy(f"No worker had room for the call within {timeout:g} s.", retry_after=self._estimate())
        return place.turn.result()

    def advance(self) -> None:
        """Gives what waits to workers that have room now."""
        full: set[str] = set()
        for place in list(self._waiting):
            if place.model in full:
                continue
            worker = self._choose(place.model)
            if worker is None:
                full.add(place.model)
                continue
            self._waiting.remove(place)
            if not place.turn.done():
                place.turn.set_result(Begun(worker, place.begin(worker)))

    def fail(self, judge: Callable[[str], Exception | None]) -> None:
        """Whoever waits for a model that ``judge`` has an error for is told that."""
        for place in list(self._waiting):
            error = judge(place.model)
            if error is not None and not place.turn.done():
                self._waiting.remove(place)
                place.turn.set_exception(error)

    def took(self, seconds: float) -> None:
        """A call took so long: what callers who are sent away are told to wait is estimated from it."""
        self._per_call += _SMOOTHING * (seconds - self._per_call)

    def _estimate(self) -> float:
        return max(1.0, min(60.0, self._per_call))
