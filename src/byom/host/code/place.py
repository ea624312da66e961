"""A place for one worker: whatever happens to the worker in it, another one follows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Literal

from byom.host.child import Backoff
from byom.host.code.configuration import HostConfig
from byom.host.code.log_book import LogBook
from byom.host.code.worker import LoadFailed, Worker

_log = logging.getLogger("byom.host.code")
_LOAD_BACKOFF = Backoff(first=1.0, longest=60.0)
_CRASH_BACKOFF = Backoff(first=0.1, longest=5.0)

State = Literal["loading", "ready", "restarting", "failed"]


class Place:
    """Keeps one worker running.

    Args:
        make: a new worker for this place.
        on_change: called when the state, or what may be called, has changed.
        on_retired: takes over a worker that takes no more calls.
    """

    def __init__(
        self,
        number: int,
        config: HostConfig,
        log: LogBook,
        make: Callable[[str, HostConfig], Worker],
        on_change: Callable[[Place], None],
        on_retired: Callable[[Worker], None],
    ) -> None:
        self.state: State = "loading"
        self.problem = ""
        """What went wrong last; empty when a worker is ready that has had no predecessor in trouble."""
        self.retry_at = 0.0
        self.worker: Worker | None = None
        self.restarts = 0
        self._number = number
        self._config = config
        self._log = log
        self._make = make
        self._on_change = on_change
        self._on_retired = on_retired
        self._task = asyncio.get_running_loop().create_task(self._keep())

    @property
    def retry_after(self) -> float:
        """Seconds until the next attempt."""
        return max(0.1, self.retry_at - time.monotonic())

    async def close(self) -> Worker | None:
        """Lets go of the worker, which goes on: what happens to it is up to the caller."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        worker, self.worker = self.worker, None
        return worker

    async def _keep(self) -> None:
        loads_failed = crashes = 0
        while True:
            worker = self.worker = self._make(f"worker-{self._number}", self._config)
            self._turn("loading")
            problem = await self._load(worker)
            if problem:
                loads_failed += 1
                delay = _LOAD_BACKOFF.delay(loads_failed)
                await self._bury(worker)
                self._fail("failed", problem, delay)
            else:
                loads_failed = 0
                self._turn("ready")
                await worker.gone.wait()
                self.problem = worker.why_gone()
                if worker.retired:
                    self._on_retired(worker)
                else:
                    await worker.process.ended.wait()
                    self.problem = worker.why_gone()
                crashes = 0 if worker.answered else crashes + 1
                delay = _CRASH_BACKOFF.delay(crashes) if crashes else 0.0
                self._fail("restarting", self.problem, delay)
            await asyncio.sleep(delay)
            self.restarts += 1

    async def _load(self, worker: Worker) -> str:
        """What kept the code from being loaded; empty when nothing did."""
        try:
            await asyncio.wait_for(worker.start(), self._config.load_timeout)
        except LoadFailed as failure:
            return str(failure)
        except TimeoutError:
            return f"The code was not loaded within {self._config.load_timeout:g} s."
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            # A worker that talks nonsense must not end the care for its place.
            _log.exception("worker-%s did not start", self._number)
            return f"The worker did not start: {type(error).__name__}: {error}"
        return ""

    def _turn(self, state: State) -> None:
        self.state = state
        self._on_change(self)

    def _fail(self, state: State, problem: str, delay: float) -> None:
        self.problem, self.retry_at = problem, time.monotonic() + delay
        again = f"; next attempt in {delay:g} s" if state == "failed" else ""
        self._log.write("host", f"worker-{self._number}: {problem}{again}")
        self._turn(state)

    @staticmethod
    async def _bury(worker: Worker) -> None:
        worker.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.process.ended.wait(), 15.0)
