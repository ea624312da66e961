"""One replica: an engine that is kept running, and how it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from byom.runtime.process import EngineProcess
from byom.runtime.process_tree import resident_bytes
from byom.runtime.supervisor import EngineSupervisor, Restarts
from byom.server.launching.death_watch import DeathWatch
from byom.server.launching.records import Replica, ReplicaState

STOP_SECONDS = 5.0
"""How long a process may take to end by itself."""
RESTARTS = Restarts(first=0.2, longest=30.0, healthy_after=30.0, most=6)
_STATES: dict[str, ReplicaState] = {
    "stopped": "starting", "starting": "starting", "ready": "ready", "restarting": "restarting", "failed": "failed",
    "stopping": "stopping",
}  # fmt: skip


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
        restarts: Restarts = RESTARTS,
    ) -> None:
        self.number = number
        self._gpus = gpus
        self._since = time.time()
        self._changed = changed
        self._engine = EngineSupervisor(make, restarts=restarts, on_change=self._news)
        self._death = DeathWatch(self._died)
        self._alive = False
        self.reason = ""
        """What ended it last."""

    def _news(self, _: EngineSupervisor) -> None:
        self._since = time.time()
        process = self._engine.process
        self._alive = self._engine.ready
        if self._engine.ready and process is not None and process.pid is not None:
            self._death.watch(process.pid)
        else:
            self._death.end()
        self.reason = self._engine.error or self.reason
        self._changed()

    def _died(self) -> None:
        """Nothing listens from now on: calls wait for the next process instead of being refused."""
        self._alive = False
        self._changed()

    # -- what is known

    @property
    def state(self) -> ReplicaState:
        return "restarting" if self._engine.ready and not self._alive else _STATES[self._engine.state]

    @property
    def port(self) -> int | None:
        """Where it listens; ``None`` while it does not."""
        process = self._engine.process
        return process.port if process is not None and self._alive else None

    @property
    def served_model(self) -> str | None:
        """What calls give as ``model``."""
        return None if self._engine.process is None else self._engine.process.served_model

    @property
    def last_words(self) -> str:
        """The end of what it wrote."""
        return "" if self._engine.process is None else self._engine.process.last_words.text(40)

    def shown(self) -> Replica:
        pid = self._engine.process.pid if self._engine.process is not None else None
        return Replica(
            id=self.number, state=self.state, pid=pid, port=self.port, gpus=list(self._gpus),
            memory=None if pid is None else resident_bytes(pid), restarts=self._engine.restarts, reason=self.reason,
            since=self._since,
        )  # fmt: skip

    # -- life

    async def begin(self) -> None:
        """Returns when it is ready; from then on it is started again whenever it ends. Raises `EngineStartError`."""
        await self._engine.start()

    async def stop(self, grace: float = STOP_SECONDS) -> None:
        """Nothing of it is left."""
        self._death.end()
        await self._engine.stop(grace)
