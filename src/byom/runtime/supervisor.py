"""Keeps an engine running: starts it, starts it again with growing pauses when it dies, and knows when to give up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from byom.errors import Unavailable
from byom.runtime.process import EngineProcess, EngineStartError

_log = logging.getLogger("byom.runtime.supervisor")
State = Literal["stopped", "starting", "ready", "restarting", "failed", "stopping"]


class Restarts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between restarts double from ``first`` to ``longest``; after a run of ``healthy_after`` they begin anew.

    After ``most`` failures in a row it stays down. 0 never starts it again.
    """

    first: float = 0.5
    longest: float = 60.0
    healthy_after: float = 60.0
    most: int = 8

    def pause(self, failures: int) -> float:
        """Before the restart that follows so many failures in a row."""
        return float(min(self.longest, self.first * 2 ** min(failures - 1, 30)))


class EngineSupervisor:
    """One replica: a launch that is kept running.

    Args:
        make: a new `EngineProcess` for each start.
        on_change: called with this object after each change of its state; a new process has a new address and token.
    """

    def __init__(
        self,
        make: Callable[[], EngineProcess],
        *,
        restarts: Restarts | None = None,
        on_change: Callable[[EngineSupervisor], None] | None = None,
    ) -> None:
        self._make = make
        self._restarts = restarts or Restarts()
        self._on_change = on_change
        self.state: State = "stopped"
        self.process: EngineProcess | None = None
        """The process of now, or the last one."""
        self.restarts = 0
        self.failures = 0
        """In a row."""
        self.error: str | None = None
        """Why it is not running, where it should."""
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stop_asked = False

    def __repr__(self) -> str:
        return f"EngineSupervisor({self.state}, restarts={self.restarts}, {self.process!r})"

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    async def start(self) -> None:
        """Returns when it serves. Raises `EngineStartError` where the first start fails: it is not tried again then."""
        if self.state not in ("stopped", "failed"):
            raise Unavailable(f"The engine is {self.state} already.")
        self.error, self.failures, self._stop_asked = None, 0, False
        self._set("starting")
        process = self.process = self._make()
        try:
            await process.start()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError) and not self._stop_asked:
                self.error = str(error)
                self._set("failed")
            else:
                self._set("stopped")
            raise
        self._set("ready")
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self, grace: float = 5.0) -> None:
        """Also while it starts, or waits to be started again."""
        self._stop_asked = True
        self._set("stopping")
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self.process is not None:
            await self.process.stop(grace)
        self._set("stopped")

    async def wait_until_ready(self, timeout: float) -> EngineProcess:
        """The process once it serves. Raises `Unavailable` where it is stopped or has failed, TimeoutError."""
        async with asyncio.timeout(timeout):
            while True:
                if self.state == "ready" and self.process is not None:
                    return self.process
                if self.state in ("failed", "stopped", "stopping"):
                    raise Unavailable(self.error or f"The engine is {self.state}.")
                self._changed.clear()
                await self._changed.wait()

    async def _keep(self) -> None:
        while True:
            started = time.monotonic()
            if self.process is not None:
                code = await self.process.wait()
                story = self.process.last_words.story()
                self.error = f"The engine ended with code {code}." + (f" Its last words:\n{story}" if story else "")
            healthy = time.monotonic() - started >= self._restarts.healthy_after
            self.failures = 1 if healthy else self.failures + 1
            _log.warning("engine of %r ended: %s", self.process, self.error)
            while not await self._again():
                self.failures += 1
            if self.state == "failed":
                return

    async def _again(self) -> bool:
        """One restart after its pause; False where it failed and another may follow."""
        if self.failures > self._restarts.most:
            self._set("failed")
            return True
        self._set("restarting")
        await asyncio.sleep(self._restarts.pause(self.failures))
        self.restarts += 1
        process = self.process = self._make()
        try:
            await process.start()
        except EngineStartError as error:
            self.error = str(error)
            _log.warning("restart %d failed: %s", self.restarts, error)
            return False
        self.error = None
        self._set("ready")
        return True

    def _set(self, state: State) -> None:
        if self.state == state:
            return
        self.state = state
        self._changed.set()
        if self._on_change is not None:
            self._on_change(self)
