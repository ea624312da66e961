"""Instances of a class model: made when they are needed, and never one user's for another."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any

from ..contract import Context

INSTANCES = ("per_user", "per_request", "shared")
KEPT = 64
"""Users whose instance is kept; the one that called longest ago gives way."""


class _Instance:
    """An instance and those who wait for it, first come first served. Waiting keeps no thread."""

    def __init__(self, made: Any, calls: int) -> None:
        self.made = made
        self.users = 0
        self._lock = threading.Lock()
        self._free = calls
        self._waiting: deque[Future[None]] = deque()

    def turn(self) -> Future[None]:
        """Done when it is the caller's turn, who says `done` then."""
        turn: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._waiting.append(turn)
        return turn

    def done(self) -> None:
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._free += 1


class Instances:
    """``make()`` makes one; ``calls`` at the same time each, others wait their turn.

    With ``per_user`` an instance is made at a user's first call and belongs to that user from then on; ``shared`` has a
    single one; ``per_request`` makes one for each call.
    """

    def __init__(self, make: Callable[[], Any], kind: str, calls: int = 1) -> None:
        self.kind = kind
        self.calls = calls
        self._make = make
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, _Instance] = OrderedDict()

    @contextlib.asynccontextmanager
    async def one(self, context: Context) -> AsyncIterator[Any]:
        """An instance for this call, when it is its turn. Instances are made in threads: that may take long."""
        loop = asyncio.get_running_loop()
        if self.kind == "per_request":
            yield await loop.run_in_executor(None, self._make)
            return
        instance = await loop.run_in_executor(None, self._take, "" if self.kind == "shared" else context.user)
        try:
            turn = instance.turn()
            try:
                await asyncio.wrap_future(turn)
            except asyncio.CancelledError:
                if not turn.cancel():  # it came at the same moment: the next one has it
                    instance.done()
                raise
            try:
                yield instance.made
            finally:
                instance.done()
        finally:
            self._give_back(instance)

    def ready(self) -> None:
        """Make what can be made before it is known who calls; raises what the class raises."""
        if self.kind == "shared":
            self._give_back(self._take(""))

    def __len__(self) -> int:
        """Instances that are kept."""
        return len(self._kept)

    def clear(self) -> list[Any]:
        """Forget all; gives those that were kept."""
        with self._lock:
            kept = [instance.made for instance in self._kept.values()]
            self._kept.clear()
        return kept

    def _take(self, key: str) -> _Instance:
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # a user's first two calls share the instance that the first of them makes
            with self._lock:
                instance = self._kept.get(key)
            if instance is None:
                instance = _Instance(self._make(), self.calls)
            with self._lock:
                self._kept[key] = instance
                self._kept.move_to_end(key)
                instance.users += 1
                self._making.pop(key, None)
                self._forget_some()
        return instance

    def _give_back(self, instance: _Instance) -> None:
        with self._lock:
            instance.users -= 1

    def _forget_some(self) -> None:
        """Those in use stay: their user's next call must find the same state."""
        for key in [key for key, instance in self._kept.items() if not instance.users]:
            if len(self._kept) <= KEPT:
                return
            del self._kept[key]
