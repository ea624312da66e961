"""One replica: a process that is started, watched, and started again when it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable

import msgspec

from byom.errors import ByomError
from byom.host.child import Backoff
from byom.runtime.process_tree import resident_bytes
from byom.server.launching.records import Replica, ReplicaState
from byom.server.launching.seam import EngineProcess, told

log = logging.getLogger("byom.server")
STOP_SECONDS = 5.0
"""How long a process may take to end by itself."""
MOST_FAILURES = 6
"""So many ends in a row, each soon after a start, and it is given up until somebody calls."""
BACKOFF = Backoff(first=0.2, longest=30.0, healthy_after=30.0)


class ReplicaKeeper:
    """Belongs to one event loop.

    ``make``: makes a process, which is not started yet. ``changed``: called after each change of state.
    """

    def __init__(
        self,
        number: int,
        make: Callable[[], EngineProcess],
        changed: Callable[[], None],
        *,
        gpus: tuple[int, ...] = (),
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._make = make
        self._changed = changed
        self._backoff = backoff
        self._process: EngineProcess | None = None
        self._watching: asyncio.Task[None] | None = None
        self._state = Replica(id=number, gpus=list(gpus), since=time.time())
        self.last_words = ""

    # -- what is known

    @property
    def number(self) -> int:
        return self._state.id

    @property
    def state(self) -> ReplicaState:
        return self._state.state

    @property
    def reason(self) -> str:
        return self._state.reason

    @property
    def port(self) -> int | None:
        """Where it listens; ``None`` while it does not."""
        return self._process.port if self._process is not None and self.state == "ready" else None

    def shown(self) -> Replica:
        pid = self._process.pid if self._process is not None else None
        memory = None if pid is None else resident_bytes(pid)
        return msgspec.structs.replace(self._state, pid=pid, port=self.port, memory=memory)

    # -- life

    async def begin(self) -> None:
        """Returns when it is ready; from then on it is started again whenever it ends. Raises `EngineStartError`."""
        await self._launch()
        self._watching = asyncio.ensure_future(self._watch())

    async def _launch(self) -> None:
        process = self._process = self._make()
        try:
            await process.ready()
        except BaseException:
            self.last_words = process.last_words
            await self._end(0.0)
            raise
        self._be("ready")

    async def _watch(self) -> None:
        failures = 0
        while self._process is not None:
            since = time.monotonic()
            code = await self._process.wait()
            healthy = self._backoff.healthy_after
            failures = 1 if time.monotonic() - since >= healthy else failures + 1
            self.last_words = self._process.last_words
            self._be("restarting", ended(code))
            log.warning("replica %d: the engine %s", self.number, ended(code))
            await self._end(0.0)
            while failures < MOST_FAILURES:
                await asyncio.sleep(self._backoff.delay(failures))
                self._state.restarts += 1
                try:
                    await self._launch()
                    break
                except (ByomError, OSError) as error:
                    failures += 1
                    self._be("restarting", told(error))
            else:
                self._be("failed", self._state.reason)

    async def stop(self, grace: float = STOP_SECONDS) -> None:
        """Nothing of it is left."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if self.state != "failed":
            self._be("stopping")
        await self._end(grace)

    async def _end(self, grace: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            await asyncio.shield(asyncio.ensure_future(process.stop(grace)))

    def _be(self, state: ReplicaState, reason: str = "") -> None:
        self._state.state, self._state.since = state, time.time()
        self._state.reason = reason or self._state.reason
        self._changed()


def ended(code: int | None) -> str:
    """What an exit code says: ``was killed by SIGKILL``."""
    if code is None or code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; the system may have been out of memory" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
