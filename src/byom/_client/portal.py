"""One event loop in a thread of its own, on which every blocking client of this process runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from byom.errors import ByomError

T = TypeVar("T")
_log = logging.getLogger("byom.client")


class Portal:
    """Runs coroutines for threads that block until they are done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._at_exit: list[Callable[[], Awaitable[None]]] = []

    def call(self, work: Awaitable[T]) -> T:
        """The result of ``work``. Ctrl-C while waiting cancels it. Not to be called from the portal's own loop."""
        future = asyncio.run_coroutine_threadsafe(_awaited(work), self._running_loop())
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                with contextlib.suppress(BaseException):
                    concurrent.futures.wait([future], timeout=2.0)
            raise

    def before_exit(self, close: Callable[[], Awaitable[None]]) -> None:
        """Await ``close()`` when the interpreter ends, while threads can still be started."""
        self._at_exit.append(close)

    def forget(self, close: Callable[[], Awaitable[None]]) -> None:
        """Take back `before_exit`."""
        with contextlib.suppress(ValueError):
            self._at_exit.remove(close)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # a fork has no threads
                self._start()
            assert self._loop is not None
            return self._loop

    def _start(self) -> None:
        started = threading.Event()
        loop = asyncio.new_event_loop()

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            loop.run_forever()

        self._thread = threading.Thread(target=run, name="byom client", daemon=True)
        self._thread.start()
        started.wait()
        self._loop, self._pid, self._at_exit = loop, os.getpid(), []
        _when_interpreter_ends(self._stop)

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or self._pid != os.getpid():
            return
        for close in reversed(self._at_exit):
            try:
                self.call(close())
            except (ByomError, OSError, RuntimeError):
                _log.exception("a client could not be closed")
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5.0)
        if not thread.is_alive():
            loop.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _when_interpreter_ends(stop: Callable[[], None]) -> None:
    """Before the interpreter joins its threads: a hub in process has some (its database's), and they end with it.

    ``atexit`` comes after that join. The registration that `concurrent.futures` uses has no public name; the import
    above makes ours run before that module refuses new work.
    """
    register: Callable[[Callable[[], None]], None] | None = getattr(threading, "_register_atexit", None)
    if register is None:
        import atexit

        atexit.register(stop)
        return
    import concurrent.futures.thread  # noqa: F401 - registered before ours, so run after it

    register(stop)


PORTAL = Portal()
