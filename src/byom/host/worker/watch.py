"""Notices asynchronous code that blocks the event loop which all calls share."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from types import FrameType
from typing import Any, Callable, Optional  # noqa: UP035 - evaluated on Python 3.9

WAITING_LIMIT = 0.025
"""Seconds without a turn of the loop, spent waiting for something: a thread does that better."""
WORKING_LIMIT = 0.25
"""The same, spent computing: short pieces of work belong to every program."""
_PAUSE = 0.01
_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


class LoopWatch(threading.Thread):
    """Asks the loop for a sign of life while it has calls, and says which task keeps it from giving one.

    Code that imports modules is left alone: that happens once. ``is_busy`` says whether other threads compete
    with the loop for the interpreter; then a short silence is no proof.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        is_busy: Callable[[], bool],
        on_block: Callable[[Any, str], None],
    ) -> None:
        super().__init__(name="byom-loop-watch", daemon=True)
        self._loop = loop
        self._is_busy = is_busy
        self._on_block = on_block
        self._loop_thread = threading.get_ident()
        self._calls = 0
        self._has_calls = threading.Event()

    def entered(self) -> None:
        """A call has been given to the loop. Only called in the thread of the reader or the loop under a lock."""
        self._calls += 1
        self._has_calls.set()

    def left(self) -> None:
        """A call has left the loop."""
        self._calls -= 1
        if not self._calls:
            self._has_calls.clear()

    def run(self) -> None:
        while True:
            self._has_calls.wait()
            sign = threading.Event()
            started, worked = time.monotonic(), self._work_done()
            try:
                self._loop.call_soon_threadsafe(sign.set)
            except RuntimeError:
                return  # the loop has ended
            if sign.wait(WAITING_LIMIT):
                time.sleep(_PAUSE)
                continue
            self._observe(sign, started, worked)

    def _observe(self, sign: threading.Event, started: float, worked: float) -> None:
        """The loop is silent: until it gives its sign, or has been silent for too long."""
        told = False
        while not sign.wait(0.005 if not told else None):
            elapsed = time.monotonic() - started
            waited = elapsed - (self._work_done() - worked)
            short = waited >= WAITING_LIMIT and not self._is_busy()
            if not (short or elapsed >= WORKING_LIMIT):
                continue
            task = asyncio.current_task(self._loop)
            frame: Optional[FrameType] = sys._current_frames().get(self._loop_thread)  # noqa: UP045
            place = _place(frame)
            if task is not None and place:
                self._on_block(task, place)
                told = True
                return
            del frame

    def _work_done(self) -> float:
        """Seconds of processor time that the loop's thread has had."""
        if not hasattr(time, "pthread_getcpuclockid"):
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self._loop_thread))


def _place(frame: Optional[FrameType]) -> str:  # noqa: UP045
    """File and line of the innermost code of a file of the user; empty for our own and while modules are imported."""
    if frame is None or frame.f_code.co_filename.startswith(_HERE):
        return ""
    place = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return ""
        if not place and not name.startswith("<"):
            place = f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return place
