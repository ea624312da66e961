"""Runs pure Python work beside the event loop, and ends it when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

Check = Callable[[], None]
"""Raises `WorkCancelled` once the work is not wanted any more."""


class WorkCancelled(Exception):
    """Nobody waits for the result."""


class Workers:
    """A few threads. More would not be quicker, since Python code runs in one at a time."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="builtin-model")

    async def run(self, work: Callable[[Check], T]) -> T:
        """``work`` in a thread; when the caller is cancelled, the next check within the work ends it."""
        unwanted = threading.Event()

        def check() -> None:
            if unwanted.is_set():
                raise WorkCancelled

        def begin() -> T:
            check()
            return work(check)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, begin)
        except asyncio.CancelledError:
            unwanted.set()
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
