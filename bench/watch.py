"""Who used the two cores during a window: the gateway, and programs that have no part in the benchmark."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from processes import GATEWAY_CORE, LOAD_CORE, Child, Children, core_busy_seconds

# Below this share the accounting of the kernel itself is not exact.
DISTURBED = 0.05


@dataclass(slots=True)
class Shares:
    """Cores used during a window: by the gateway, and by others on the gateway's and on the load core."""

    gateway: float = 0.0
    others_on_gateway_core: float = 0.0
    others_on_load_core: float = 0.0

    def foreign(self, *, gateway_core_used: bool) -> float:
        """The larger share that others took of a core the window needed."""
        on_gateway = self.others_on_gateway_core if gateway_core_used else 0.0
        return round(max(on_gateway, self.others_on_load_core), 3)


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    gateway: float
    busy_gateway_core: float
    busy_load_core: float
    load: float


@dataclass(frozen=True, slots=True)
class Watcher:
    """Reads processor times of the benchmark's own processes and of whole cores."""

    children: Children

    @contextmanager
    def window(self, gateway: Child | None) -> Iterator[Shares]:
        """Fill in the shares when the block ends."""
        shares = Shares()
        before = self._read(gateway)
        yield shares
        after = self._read(gateway)
        seconds = after.at - before.at
        used = after.gateway - before.gateway
        shares.gateway = round(used / seconds, 3)
        others = after.busy_gateway_core - before.busy_gateway_core - used
        shares.others_on_gateway_core = max(0.0, others) / seconds
        others = after.busy_load_core - before.busy_load_core - (after.load - before.load)
        shares.others_on_load_core = max(0.0, others) / seconds

    def _read(self, gateway: Child | None) -> _Reading:
        # Drivers are waited for within a window, so their time is in RUSAGE_CHILDREN at its end.
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        mocks = sum(child.cpu_seconds() for child in self.children.on_core(LOAD_CORE))
        return _Reading(
            at=time.monotonic(),
            gateway=gateway.cpu_seconds() if gateway else 0.0,
            busy_gateway_core=core_busy_seconds(GATEWAY_CORE),
            busy_load_core=core_busy_seconds(LOAD_CORE),
            load=mocks + ended.ru_utime + ended.ru_stime + time.process_time(),
        )
