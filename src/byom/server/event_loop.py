"""The event loop that a hub's processes run on, and the signals that end them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

INTERRUPTED = 130


def runner() -> asyncio.Runner:
    if sys.platform == "win32":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def stop_on_signals(stopping: asyncio.Event, at_once: Callable[[], None] | None = None) -> None:
    """SIGTERM and SIGINT set ``stopping``; one more ends this process at once, after ``at_once``."""

    def stop() -> None:
        if stopping.is_set():
            if at_once is not None:
                at_once()
            os._exit(INTERRUPTED)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
