"""The host process of one connection whose models are code: started when it is wanted, told what changes, watched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from byom.errors import ByomError, Unavailable
from byom.host.child import Backoff, ChildHost, HostStartError
from byom.server.code_front import CodeFront
from byom.server.host_state import HostState, Stage
from byom.server.host_target import host_target
from byom.server.log_file import LogFile, log_path
from byom.types.target import Target

if TYPE_CHECKING:
    from byom.catalog.host_document import HostConfiguration

log = logging.getLogger("byom.server")
MODULE = "byom.host.code"
WAKE_SECONDS = 60.0
"""The longest that a call waits for a process to listen. That its code is loaded, the process itself waits for."""
LOAD_SECONDS = 600.0
RESTART_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_AGAIN = Backoff(first=0.5, longest=30.0)


class Reporter(Protocol):
    """A part of `byom.server.code_hosts.Source`."""

    async def code_says(self, connection_id: str, models: list[dict[str, Any]]) -> None: ...

    def publish(self, connection: str, target: Target | None) -> None: ...


class CodeHost:
    """Belongs to one event loop. ``folder``: where its log is."""

    def __init__(self, configuration: HostConfiguration, reporter: Reporter, folder: Path) -> None:
        self._configuration = configuration
        self._reporter = reporter
        self._folder = folder
        self._log = LogFile(log_path(folder, configuration.name))
        self._child: ChildHost | None = None
        self._starting: asyncio.Task[ChildHost] | None = None
        self._learning: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._listening = asyncio.Event()
        self._watched = -1
        self._failures = 0
        self._failed_at = 0.0
        self._reason = ""
        self._since = time.time()
        self._restarts = 0

    @property
    def name(self) -> str:
        return self._configuration.name

    # -- life

    def begin(self) -> None:
        """Start it, without waiting until it has."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def wake(self) -> None:
        """Returns when the process listens. Raises `Unavailable` with what is wrong."""
        self._forget_failed_start()
        self.begin()
        assert self._starting is not None
        try:
            async with asyncio.timeout(WAKE_SECONDS):
                await asyncio.shield(self._starting)
                await self._listening.wait()
        except (HostStartError, TimeoutError, OSError) as error:
            text = f"The process of {self.name!r} did not start; its log says why: byom logs {self.name}"
            raise Unavailable(text, code="model_not_running", retry_after=self._patience()) from error

    def _forget_failed_start(self) -> None:
        """A start that failed is tried again with a later call, and not with every one."""
        failed = self._starting is not None and self._starting.done() and self._child is None
        if failed and self._patience() <= 0:
            self._starting = None

    def _patience(self) -> float:
        """Seconds until a start is tried again."""
        if not self._failures:
            return 0.0
        return max(0.0, self._failed_at + _AGAIN.delay(self._failures) - time.monotonic())

    async def _start(self) -> ChildHost:
        child = ChildHost(
            MODULE,
            configuration=lambda: msgspec.json.encode(self._configuration.document),
            on_ready=self._listens,
            on_ended=self._ended,
            on_output=self._log.add,
        )
        self._since = time.time()
        try:
            await child.start()
        except (HostStartError, OSError) as error:
            self._failures += 1
            self._failed_at, self._reason, self._since = time.monotonic(), str(error), time.time()
            self._log.add(f"{error}\n".encode())
            raise
        self._child, self._failures, self._reason = child, 0, ""
        return child

    async def restart(self) -> None:
        """End it and start it anew, with the code as it is on disk now. Returns when that is loaded, or is not.

        Raises as `wake`.
        """
        async with self._changing:
            await self._end()
            self._failures = 0
        await self.wake()
        deadline = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < deadline:
            if (await self.state()).state != "starting":
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self) -> None:
        """Nothing of it is left."""
        async with self._changing:
            await self._end()
        await self._log.close()

    async def _end(self) -> None:
        tasks = [task for task in (self._starting, self._learning) if task is not None]
        self._starting = self._learning = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        child, self._child = self._child, None
        self._silent()
        if child is not None:
            await child.stop()

    # -- what the process does

    def _listens(self, child: ChildHost) -> None:
        self._since = time.time()
        self._restarts = child.restarts
        self._watch(child)
        self._listening.set()
        self._reporter.publish(self.name, host_target(child, tell_user=True))
        if self._learning is not None:
            self._learning.cancel()
        self._learning = asyncio.ensure_future(self._learn(CodeFront.of(child)))

    def _ended(self, child: ChildHost) -> None:  # noqa: ARG002 - the one that this is about
        self._since = time.time()
        self._reason = "Its process ended, and is started again."
        self._silent()

    def _silent(self) -> None:
        """Nothing listens: calls wait for the next process instead of being refused."""
        self._unwatch()
        self._listening.clear()
        self._reporter.publish(self.name, None)

    def _watch(self, child: ChildHost) -> None:
        """Have the system say at once when the process is gone: its pipes may stay open for a while after it."""
        self._unwatch()
        if child.pid is not None and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._watched = os.pidfd_open(child.pid)
                asyncio.get_running_loop().add_reader(self._watched, self._silent)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1

    async def _learn(self, front: CodeFront) -> None:
        """When the code is loaded: what it says of its models."""
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                models = await front.models(wait=True)
            await self._reporter.code_says(self._configuration.connection_id, models)
        except (ByomError, OSError, TimeoutError) as error:
            log.warning("what the code of %s says of its models is not known: %s", self.name, error)

    # -- what it is told

    async def configure(self, configuration: HostConfiguration) -> None:
        """Tell it what has changed; calls under way go on. Raises `Unavailable` when it does not take it."""
        async with self._changing:
            before, self._configuration = self._configuration, configuration
            if before.name != configuration.name:
                await self._renamed(before.name)
            if before.digest == configuration.digest:
                return
            self._failures = 0
            child = self._child
            if child is None or not child.running:
                return  # it has the newest one when it starts
            front = CodeFront.of(child)
            await front.configure(configuration.document)
            if self._learning is not None:
                self._learning.cancel()
            self._learning = asyncio.ensure_future(self._learn(front))

    async def _renamed(self, before: str) -> None:
        self._reporter.publish(before, None)
        if self._child is not None and self._child.running and self._listening.is_set():
            self._reporter.publish(self.name, host_target(self._child, tell_user=True))
        await self._log.move(log_path(self._folder, self.name))

    # -- how it is

    async def state(self) -> HostState:
        """As it is now; the process itself is asked for its models."""
        if self._child is None:
            if self._starting is None:
                return self._as("cold")
            return self._as("failed" if self._starting.done() else "starting")
        if not self._child.running or not self._listening.is_set():
            return self._as("failed")
        try:
            models = await CodeFront.of(self._child).states()
        except (Unavailable, OSError) as error:
            return msgspec.structs.replace(self._as("failed"), reason=str(error))
        return msgspec.structs.replace(self._as(_stage(models)), reason=_why(models), models=models)

    def _as(self, stage: Stage) -> HostState:
        reason = self._reason if stage == "failed" else ""
        return HostState(state=stage, reason=reason, since=self._since, restarts=self._restarts)


def _stage(models: list[dict[str, Any]]) -> Stage:
    """The worst of the models'."""
    found = {one.get("state") for one in models}
    return "failed" if "failed" in found else "starting" if "loading" in found else "ready"


def _why(models: list[dict[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(str(one["error"]) for one in models if one.get("error")))
