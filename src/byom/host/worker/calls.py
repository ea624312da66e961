"""One call on its way through the worker: claimed once, cancelled at any time, slowed down by its reader."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from typing import Any, Callable, Dict, Optional  # noqa: UP035 - evaluated on Python 3.9

from .channel import Channel
from .contract import Context, Event, Served


class Cancelled(BaseException):
    """Nobody waits for this answer any more. Not an `Exception`: code that handles those must not swallow it."""


class Entry:
    """A model that is served, with what the worker has learnt of it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.name = served.description.name
        self.in_threads = not served.asynchronous
        """Whether its calls run in threads: from the start, or since its code blocked the event loop."""
        self.suspends = False
        """Whether a call of it has ever waited for something on the loop. Then it may have things there that no other
        loop can use (the connections of an asynchronous client), and it stays."""
        self.straight = False
        """Whether a call of it has gone from beginning to end without waiting for anything."""
        self.told = False


class Call:
    """``window``: how many events may be under way to a reader who has not confirmed any."""

    def __init__(self, frame: Dict[str, Any], entry: Entry, channel: Channel, window: int) -> None:  # noqa: UP006
        self.id = int(frame["id"])
        self.entry = entry
        self.kind = str(frame["kind"])
        self.request: Dict[str, Any] = frame["request"]  # noqa: UP006
        self.context = Context(
            user=frame.get("user") or "", config=frame.get("config"), plugin_config=frame.get("plugin_config")
        )
        self._channel = channel
        self._credit = window
        self.suspended = False
        self.blocked_at = ""
        """File and line where it kept the loop from turning."""
        self.awaits_reader = False
        self._claimed = False
        self._changed = threading.Condition()
        self._resume: Optional[Callable[[], None]] = None  # noqa: UP045
        self._interrupt: Optional[Callable[[], None]] = None  # noqa: UP045

    def claim(self) -> bool:
        """True for the first one who asks: that one runs the call."""
        with self._changed:
            claimed, self._claimed = self._claimed, True
            return not claimed

    # --- cancelling

    @property
    def cancelled(self) -> bool:
        return self.context.cancelled.is_set()

    def cancel(self) -> None:
        """Tells the code, and wakes it where it waits for its reader."""
        with self._changed:
            self.context.cancelled.set()
            self._changed.notify_all()
            resume, interrupt = self._resume, self._interrupt
        for wake in (resume, interrupt):
            if wake is not None:
                wake()

    def interrupt_with(self, interrupt: Optional[Callable[[], None]]) -> None:  # noqa: UP045
        """What cancelling does beside setting the flag. Called at once where the call is cancelled already."""
        with self._changed:
            self._interrupt = interrupt
            late = self.cancelled
        if late and interrupt is not None:
            interrupt()

    # --- events, as fast as the reader takes them

    def grant(self, events: int) -> None:
        """The reader has taken so many events."""
        with self._changed:
            self._credit += events
            self._changed.notify_all()
            resume = self._resume
        if resume is not None:
            resume()

    def emit(self, event: Event) -> None:
        """Sends an event, and waits in this thread while the reader is behind. Raises `Cancelled`."""
        with self._changed:
            while self._credit <= 0 and not self.cancelled:
                self._changed.wait()
            self._spend()
        self._send(event)

    async def emit_async(self, event: Event) -> None:
        """As `emit`, on an event loop."""
        while not self._ready():
            await self._turn()
        self._send(event)

    def _ready(self) -> bool:
        with self._changed:
            if self._credit <= 0 and not self.cancelled:
                return False
            self._spend()
            return True

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        turn = asyncio.Event()
        with self._changed:
            if self._credit > 0 or self.cancelled:
                return
            self._resume = functools.partial(soon, loop, turn.set)
        self.awaits_reader = True
        try:
            await turn.wait()
        finally:
            self.awaits_reader = False
            self._resume = None

    def _spend(self) -> None:
        if self.cancelled:
            raise Cancelled
        self._credit -= 1

    def _send(self, event: Event) -> None:
        self._channel.send({"op": "event", "id": self.id, "event": event})


def soon(loop: asyncio.AbstractEventLoop, action: Callable[[], Any]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and with it what waited there
        loop.call_soon_threadsafe(action)
