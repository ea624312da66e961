"""One place among the workers of a hub, and the process that has it now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from byom.host.child import Backoff
from byom.server.control import AskFailed, Channel, Handler
from byom.server.measures import Measures
from byom.server.work import Start

log = logging.getLogger("byom.server")
START_SECONDS = 600.0
"""A database may have to be migrated. A worker that dies meanwhile is noticed at once."""
LISTEN_SECONDS = 30.0
KILL_AFTER = 15.0
"""Seconds beyond the time for draining that a worker has to write its rows and end."""


class Place:
    """Starts a process, replaces it when it ends, stops it. ``handlers`` answer what the process asks."""

    def __init__(self, number: int, handlers: Mapping[str, Handler]) -> None:
        self.number = number
        self.channel: Channel | None = None
        self.started = False
        """Its hub is started."""
        self.ready = False
        """It takes connections."""
        self.unread = False
        """A process of this place died, and its last ledger rows may not be in the database yet."""
        self.restarts = 0
        self.measures: Measures | None = None
        """What the present process measured when it was last asked."""
        self._handlers = handlers
        self._backoff = Backoff()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def launch(self) -> None:
        """Start a process, which then waits for what `begin` says. Its standard input is the control channel."""
        self.channel = None
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "byom.server.worker"),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                # What these say, the settings on the channel say too, and they may hold secrets.
                env={name: value for name, value in os.environ.items() if not name.startswith("BYOM_")},
                start_new_session=True,  # a Ctrl-C at the terminal is for the supervisor
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = await Channel.over(ours, self._handlers, self._lost)

    async def begin(self, start: Start) -> None:
        """Raises `AskFailed` when the process cannot be a worker, ``ConnectionError`` when it ends."""
        await self.ask("start", start, timeout=START_SECONDS)
        self.started = True

    async def listen(self) -> None:
        await self.ask("listen", timeout=LISTEN_SECONDS)
        self.ready = True

    async def ask(self, method: str, body: Any = None, *, timeout: float) -> Any:
        if self.channel is None:
            raise ConnectionResetError(f"worker {self.number} has no process")
        return await self.channel.ask(method, body, timeout=timeout)

    def tell(self, method: str, body: Any = None) -> None:
        if self.started and self.channel is not None:
            self.channel.tell(method, body)

    async def keep(self, again: Callable[[Place], Awaitable[None]], ended: Callable[[Place], None]) -> None:
        """Until cancelled: whenever the process ends, call ``ended``, launch another one and bring it up with
        ``again``."""
        failures = 0
        while True:
            since = time.monotonic()
            assert self._process is not None
            code = await self._process.wait()
            failures = 1 if time.monotonic() - since >= self._backoff.healthy_after else failures + 1
            self._lost()
            self.unread = True
            ended(self)
            log.warning("worker %d ended with code %s; it is replaced", self.number, code)
            await asyncio.sleep(self._backoff.delay(failures))
            self.restarts += 1
            try:
                await self.launch()
                await again(self)
            except (AskFailed, OSError, TimeoutError) as error:
                log.error("worker %d did not start: %s", self.number, error)
                self.kill()

    def _lost(self) -> None:
        self.started = self.ready = False

    async def stop(self, drain_seconds: float) -> None:
        """Let it drain and end; nothing of it is left."""
        process, self.ready = self._process, False
        if process is None:
            return
        if self.channel is None or self.channel.lost:
            self.kill()
        else:
            self.channel.tell("stop", drain_seconds)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), drain_seconds + KILL_AFTER)
        if process.returncode is None:
            log.error("worker %d did not end and is killed", self.number)
        self.kill()
        await process.wait()
        if self.channel is not None:
            self.channel.close()

    def kill(self) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
