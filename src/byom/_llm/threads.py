"""Calls of user functions that do not keep others waiting: what blocks runs in threads, ``async def`` or not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from byom.errors import ByomError, UpstreamError
from byom.host.worker.contracts.asynchrony import is_asynchronous, never_waits, run_here

THREADS = 32
BLOCKS_SECONDS = 0.005
"""An asynchronous function that took longer without waiting for anything has blocked the event loop."""


class FunctionCaller:
    """Calls one function. Not for functions that answer in pieces."""

    def __init__(self, who: str, fn: Callable[..., Any]) -> None:
        self._who = who
        self._fn = fn
        self._asynchronous = is_asynchronous(fn)
        self._never_waits = self._asynchronous and never_waits(fn)
        self._blocked = False
        self._lock = threading.Lock()
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    async def __call__(self, *arguments: Any) -> Any:
        """The function's result. What it raises becomes `UpstreamError`; BYOM's own errors pass as they are.

        A function that has begun in a thread cannot be stopped: when the call is cancelled, its result is dropped.
        """
        try:
            if not self._asynchronous or self._never_waits or self._blocked:
                return await asyncio.get_running_loop().run_in_executor(self._threads(), self._in_thread, arguments)
            watched = _Watched(self._fn(*arguments))
            result = await watched
            self._blocked = not watched.waited and watched.seconds > BLOCKS_SECONDS
        except ByomError:
            raise
        except Exception as error:  # any exception may come out of a user's function
            raise UpstreamError(f"{self._who} raised {type(error).__name__}: {error}") from error
        return result

    def _in_thread(self, arguments: tuple[Any, ...]) -> Any:
        try:
            made = self._fn(*arguments)
            if not self._asynchronous:
                return made
            return run_here(made) if self._never_waits else asyncio.run(made)
        except StopIteration as error:  # a future cannot carry it: the caller would wait for ever
            raise RuntimeError("the function raised StopIteration") from error

    def _threads(self) -> concurrent.futures.ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="byom-llm")
            return self._pool


class _Watched:
    """A coroutine, and whether it ever waited."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.waited = False
        self.seconds = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        began = time.perf_counter()
        steps = self._coroutine.__await__()
        try:
            waits_for = next(steps)
        except StopIteration as done:
            self.seconds = time.perf_counter() - began
            return done.value
        self.waited = True
        return (yield from _continued(steps, waits_for))


def _continued(steps: Generator[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine whose first step was made already."""
    while True:
        sent: Any = None
        thrown: BaseException | None = None
        try:
            sent = yield waits_for
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - cancelling goes to the coroutine
            thrown = error
        try:
            waits_for = steps.send(sent) if thrown is None else steps.throw(thrown)
        except StopIteration as done:
            return done.value
