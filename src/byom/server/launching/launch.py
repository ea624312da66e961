"""One launched model: its way from nothing to ready, and back."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from byom.errors import ByomError, Unavailable
from byom.host.child import Backoff
from byom.runtime.memory import NotEnoughMemory
from byom.runtime.process import EngineProcess
from byom.server.launching.news import News
from byom.server.launching.records import ON_THE_WAY, FileProgress, LaunchState, Replica, Running, Stage
from byom.server.launching.replica import STOP_SECONDS, ReplicaKeeper
from byom.server.launching.seam import Plan, Prepared, Reserved, told
from byom.server.launching.surroundings import Surroundings
from byom.server.log_file import LogFile, log_path
from byom.types.target import Target

log = logging.getLogger("byom.server")
FETCHED = 0.8
"""How much of the whole launch fetching is."""
AGAIN = Backoff(first=1.0, longest=60.0)
"""How soon a launch that failed is tried again with a call."""
LOOK_SECONDS = 0.05
_EVICT = "Or have models that are not used leave for it, with --evict."


class Launch:
    """Belongs to one event loop."""

    def __init__(self, plan: Plan, around: Surroundings) -> None:
        self.plan = plan
        self.news = News()
        self.created_at = time.time()
        self.idle_since = time.monotonic()
        """When it was ready last; calls are known to the gateway."""
        self.drain_seconds = 0.0
        self._around = around
        self._token = secrets.token_urlsafe(32)
        self._state: LaunchState = "queued"
        self._stage = Stage()
        self._stages: list[Stage] = []
        self._reason = self._last_words = ""
        self._failures = 0
        self._failed_at = 0.0
        self._replicas: list[ReplicaKeeper] = []
        self._working: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._prepared: dict[int, Prepared] = {}
        self._log = LogFile(log_path(around.logs, plan.uid))
        self._logs: dict[int, LogFile] = {}

    # -- what is known

    @property
    def uid(self) -> str:
        return self.plan.uid

    @property
    def state(self) -> LaunchState:
        return self._state

    @property
    def stages(self) -> Sequence[Stage]:
        """What has happened since the last load began."""
        return self._stages

    @property
    def serving(self) -> bool:
        return any(one.port is not None for one in self._replicas)

    def reserve(self, reserved: Reserved) -> None:
        """Add what its replicas have not taken yet."""
        if self._state == "loading":
            for one in self._replicas:
                prepared = self._prepared.get(one.number)
                if one.state == "starting" and prepared is not None:
                    taken = 0 if prepared.gpus else one.shown().memory or 0
                    reserved.add(msgspec.structs.replace(prepared, memory=max(0, prepared.memory - taken)))

    def shown(self, idle: float | None = None) -> Running:
        """As it is now. Any thread may ask."""
        version = self.news.version  # before everything else: what changes meanwhile is told once more
        request, variant = self.plan.request, self.plan.variant
        return Running(
            uid=self.uid, model_name=request.model_name, model_type=request.model_type, state=self._state,
            reason=self._reason, last_words=self._last_words, stage=self._stage, replicas=self._shown_replicas(),
            wanted_replicas=request.replicas, engine=self.plan.engine, format=str(variant.get("format", "")),
            size=variant.get("size"), quantization=str(variant.get("quantization", "none")),
            abilities=list(self.plan.abilities), context_length=self._context_length(), n_gpu=request.n_gpu,
            pinned=request.pinned, idle_unload_seconds=request.idle_unload_seconds, idle_seconds=idle,
            created_at=self.created_at, spec=self.plan.spec, version=version,
        )  # fmt: skip

    def _context_length(self) -> int | None:
        known = [one.context_length for one in self._prepared.values() if one.context_length]
        return min(known, default=self.plan.context_length)

    def _shown_replicas(self) -> list[Replica]:
        return [one.shown() for one in self._replicas]

    # -- what is asked

    def begin(self) -> None:
        """Load it, without waiting until it is."""
        if self._working is None or self._working.done():
            self._reason = self._last_words = ""
            self._stages = []
            self._be("queued", 0.0, "Waiting for its turn")
            self._working = asyncio.ensure_future(self._work())

    async def wake(self) -> None:
        """Returns when a replica serves. Raises `Unavailable` with the reason when none does."""
        while not self.serving:
            seen = self.news.version
            if self._state == "stopping":
                await self._after_ending()
                continue
            if self._state == "unloaded" or (self._state == "failed" and self._patience() <= 0):
                self.begin()
            elif self._state == "failed":
                raise self.failure()
            await self.news.wait(seen, 1.0)

    async def _after_ending(self) -> None:
        if self._ending is None:
            raise Unavailable(f"{self.uid} is being stopped.", code="model_not_running", retry_after=1.0)
        await asyncio.shield(self._ending)

    def failure(self) -> Unavailable:
        """Why it failed, as an error."""
        wait = max(1.0, self._patience())
        return Unavailable(
            f"{self.uid} could not be loaded. {self._reason}", code="model_not_running", retry_after=wait
        )

    def _patience(self) -> float:
        """Seconds until a load is tried again."""
        return max(0.0, self._failed_at + AGAIN.delay(self._failures) - time.monotonic()) if self._failures else 0.0

    async def unload(self, why: str) -> None:
        """End its processes; the next call loads it again."""
        if self._state == "ready" and self._ending is None:
            self._ending = asyncio.ensure_future(self._unload(why))
        if self._ending is not None:
            await asyncio.shield(self._ending)

    async def _unload(self, why: str) -> None:
        try:
            self._be("stopping", 1.0, why)
            self._publish()
            await self._drained(30.0)
            await self._end_replicas(STOP_SECONDS)
            self._be("unloaded", 0.0, why)
        finally:
            self._ending = None

    def rest(self) -> None:
        """It is not loaded before somebody calls."""
        self._be("unloaded", 0.0, "It is loaded with the first call")

    async def end(self) -> None:
        """Nothing of it is left."""
        await self._cancel_work()
        if self._ending is not None:
            await asyncio.gather(self._ending, return_exceptions=True)
        self._be("stopping", self._stage.fraction, "Being stopped")
        self._publish()
        await self._drained(self.drain_seconds)
        await self._end_replicas(STOP_SECONDS)
        await asyncio.gather(self._log.close(), *(one.close() for one in self._logs.values()))

    async def drop(self, number: int) -> bool:
        """End one replica for good; false where there is none of that number."""
        one = next((one for one in self._replicas if one.number == number), None)
        if one is None:
            return False
        self._replicas.remove(one)
        self._changed()
        await self._drained(self.drain_seconds)
        await one.stop()
        return True

    async def configure(self, plan: Plan) -> None:
        """Have it as it is to be now: more or fewer replicas; anything else about its engine means a new start."""
        before, self.plan = self.plan, plan
        if _engine_of(before) != _engine_of(plan):
            serving = self._state in ("ready", *ON_THE_WAY)
            await self._cancel_work()
            self._be("stopping", 1.0, "Being started anew")
            self._publish()
            await self._end_replicas(STOP_SECONDS)
            self.begin() if serving else self.rest()
            return
        self._changed()
        if self._state == "ready":
            surplus = self._replicas[plan.request.replicas :]
            for one in reversed(surplus):
                await self.drop(one.number)
            if len(self._replicas) < plan.request.replicas:
                self.begin()

    # -- loading

    async def _work(self) -> None:
        try:
            await self._load()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever it was, it is the launch that failed, and says so
            if not isinstance(error, ByomError | OSError):
                log.exception("launching %s failed", self.uid)
            self._reason = told(error)
            if self.serving:  # it is further replicas that did not start
                self._be("ready", 1.0, self._reason)
                return
            await self._end_replicas(0.0)
            self._failures += 1
            self._failed_at = time.monotonic()
            self._be("failed", 0.0, self._reason)

    async def _load(self) -> None:
        around, plan = self._around, self.plan
        async with around.fetching:
            self._be("downloading", 0.0, "Looking for the weights")
            weights = await around.runtime.fetch(plan, self._fetched)
        self._be("queued", FETCHED, "Waiting for others to load")
        async with around.loading:
            new = await self._prepare_replicas(plan, weights)
            self._be("loading", FETCHED, f"Starting {plan.engine}")
            await self._begin_replicas(new)
        self._failures = 0
        self.idle_since = time.monotonic()
        self._be("ready", 1.0, "Ready")

    def _fetched(self, files: Sequence[FileProgress]) -> None:
        done, total = sum(one.done for one in files), sum(one.total or 0 for one in files)
        known = total > 0 and all(one.total is not None for one in files)
        part = min(1.0, done / total) if known else 0.0
        stage = self._stage
        self._stage = Stage(
            state="downloading", fraction=FETCHED * part, text="Fetching the weights", at=stage.at, files=list(files)
        )
        self.news.tell()

    async def _prepare(self, plan: Plan, weights: Any, number: int, reserved: Reserved) -> Prepared:
        """Raises `NotEnoughMemory`, after others have left for it where that was asked for."""
        around = self._around
        while True:
            try:
                return await asyncio.to_thread(around.runtime.prepare, plan, weights, number, reserved)
            except NotEnoughMemory as error:
                gone = await around.leave(self.uid) if plan.request.evict else None
                if gone is not None:
                    log.info("%s was unloaded to make room for %s", gone, self.uid)
                    continue
                more = "Nothing that is loaded may leave for it." if plan.request.evict else _EVICT
                raise NotEnoughMemory(f"{error.message} {more}") from error

    async def _prepare_replicas(self, plan: Plan, weights: Any) -> list[ReplicaKeeper]:
        """Those that are still missing."""
        taken = {one.number for one in self._replicas}
        missing = plan.request.replicas - len(self._replicas)
        numbers = [number for number in range(plan.request.replicas + len(taken)) if number not in taken][:missing]
        reserved = self._around.reserved(self.uid)
        new = []
        for number in numbers:
            prepared = await self._prepare(plan, weights, number, reserved)
            reserved.add(prepared)
            new.append(self._replica(plan, prepared, number))
        return new

    def _replica(self, plan: Plan, prepared: Prepared, number: int) -> ReplicaKeeper:
        self._prepared[number] = prepared

        def make() -> EngineProcess:
            output = functools.partial(self._wrote, number)
            return self._around.runtime.process(plan, prepared, self._token, output)

        return ReplicaKeeper(number, make, self._changed, gpus=prepared.gpus)

    async def _begin_replicas(self, new: Sequence[ReplicaKeeper]) -> None:
        """All of them or none. Raises `EngineStartError`."""
        self._replicas = sorted([*self._replicas, *new], key=lambda one: one.number)
        tasks = [asyncio.ensure_future(one.begin()) for one in new]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._replicas = [one for one in self._replicas if one not in new]
            await asyncio.gather(*(one.stop(0.0) for one in new))
            self._last_words = next((one.last_words for one in new if one.last_words), "")
            raise

    def _wrote(self, number: int, line: str) -> None:
        if number not in self._logs:
            self._logs[number] = LogFile(replica_log(self._around.logs, self.uid, number))
        self._logs[number].add(f"{line}\n".encode("utf-8", "replace"))
        self._log.add(f"[{number}] {line}\n".encode("utf-8", "replace"))

    # -- ending

    async def _cancel_work(self) -> None:
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _end_replicas(self, grace: float) -> None:
        replicas, self._replicas = self._replicas, []
        await asyncio.gather(*(one.stop(grace) for one in replicas))
        self._prepared.clear()
        self._changed()

    async def _drained(self, seconds: float) -> None:
        """Returns when no call is under way, or after so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            busy = (await self._around.source.activity([self.uid])).get(self.uid, (0, None))[0]
            if not busy:
                return
            await asyncio.sleep(LOOK_SECONDS)

    # -- saying so

    def _be(self, state: LaunchState, fraction: float, text: str) -> None:
        if state != self._state or text != self._stage.text:
            log.info("%s: %s: %s", self.uid, state, text)
            self._log.add(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {state}: {text}\n".encode("utf-8", "replace"))
        self._state = state
        self._stage = Stage(state=state, fraction=fraction, text=text)
        self._stages.append(self._stage)
        self._changed()

    def _changed(self) -> None:
        replicas = self._replicas
        if self._state == "ready" and replicas and all(one.state == "failed" for one in replicas):
            self._given_up(replicas)
            return
        self._publish()
        self.news.tell()

    def _given_up(self, replicas: Sequence[ReplicaKeeper]) -> None:
        """No replica can be kept running: the next call tries from the start."""
        self._failures += 1
        self._failed_at = time.monotonic()
        self._reason = f"Its engine ended again and again: {replicas[0].reason}"
        self._last_words = replicas[0].last_words
        self._replicas = []
        self._be("failed", 0.0, self._reason)

    def _publish(self) -> None:
        ports = [] if self._state == "stopping" else [one.port for one in self._replicas if one.port is not None]
        self._around.source.publish(self.uid, target_of(ports, self._token) if ports else None)


def target_of(ports: Sequence[int], token: str) -> Target:
    """Where the calls go: to the least busy of these."""
    return Target(
        scheme="http", host="127.0.0.1", port=ports[0], base_path="/v1", authorization=f"Bearer {token}", trusted=True,
        replicas=tuple(("127.0.0.1", port) for port in ports[1:]),
    )  # fmt: skip


def replica_log(folder: Any, uid: str, number: int) -> Any:
    """The log of one replica."""
    return log_path(folder, f"{uid}-rep{number}")


_LIGHT = ("replicas", "pinned", "idle_unload_seconds", "evict", "start_seconds")
"""What can change while it runs."""


def _engine_of(plan: Plan) -> Any:
    """What a process was started with."""
    request: dict[str, Any] = msgspec.to_builtins(plan.request)
    return plan.engine, plan.spec, plan.variant, {name: v for name, v in request.items() if name not in _LIGHT}
