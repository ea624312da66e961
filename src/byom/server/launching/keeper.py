"""Keeps the engines of all launched models, in step with the catalog.

In a hub of one process the hub itself has this; with several workers the process that holds them together has it,
which opens no database: what there is to launch it asks a `Source`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from byom.errors import NotFound, Unavailable
from byom.server.launching.launch import Launch
from byom.server.launching.records import ON_THE_WAY, Cached, EngineShown, Running, Stage
from byom.server.launching.request import LaunchRequest
from byom.server.launching.resting import Resting
from byom.server.launching.seam import Plan, Reserved, Runtime, Source
from byom.server.launching.surroundings import FETCHES, LOADS, Surroundings

if TYPE_CHECKING:
    from byom.runtime.specs.registry import SpecRegistry

log = logging.getLogger("byom.server")
WATCH_SECONDS = 0.5
FAILED_SECONDS = 3600.0
"""How long a launch that failed is told of."""
MOST_FAILED = 100


class Keeper:
    """A `byom.server.launching.weights_keeper.WeightsKeeper`. Belongs to one event loop.

    ``pythons``: interpreters of engines that have an environment of their own, by name. ``restore``: load what was
    loaded when the hub ended; else everything waits for its first call.
    """

    def __init__(
        self, source: Source, home: Path, *, pythons: Mapping[str, str] | None = None, restore: bool = True
    ) -> None:
        self._source = source
        self._home = home
        self._restore = restore
        self._pythons = dict(pythons or {})
        self._runtime: Runtime | None = None
        self._registry: SpecRegistry | None = None
        self._launches: dict[str, Launch] = {}
        self._failed: dict[str, tuple[float, Running]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._resting = Resting(home / "engines" / "unloaded.json")
        self._agreeing = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._asked = self._agreed = 0
        self._began = False
        self._closed = False
        self._around: Surroundings | None = None
        self._watching: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """End every engine; nothing of them is left."""
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        async with self._agreeing:
            launches, self._launches = list(self._launches.values()), {}
        await asyncio.gather(*(one.end() for one in launches), *self._leaving.values(), return_exceptions=True)

    # -- specs

    async def register(self, document: Any, kind: str | None, persist: bool, replace: bool) -> dict[str, Any]:
        """``spec`` and ``notes``. Raises `SpecInvalid`, `Conflict`."""
        registry = await self._specs()
        found = await asyncio.to_thread(registry.register, document, kind, persist=persist, replace=replace)
        return {"spec": msgspec.to_builtins(found.spec), "notes": list(found.notes)}

    async def unregister(self, kind: str, name: str) -> bool:
        registry = await self._specs()
        return await asyncio.to_thread(registry.unregister, kind, name)

    async def specs(self, kind: str | None) -> list[dict[str, Any]]:
        """Each as ``spec`` (`ModelSpec`) and ``persisted``."""
        registry = await self._specs()
        return [
            {"spec": msgspec.to_builtins(one), "persisted": registry.is_persisted(one.kind, one.name)}
            for one in registry.list(kind)
        ]

    async def spec(self, kind: str, name: str) -> dict[str, Any]:
        """Raises `NotFound`."""
        spec = (await self._specs()).get(kind, name)
        found: dict[str, Any] = msgspec.to_builtins(spec)
        return found

    async def _specs(self) -> SpecRegistry:
        async with self._opening:
            if self._registry is None:
                from byom.runtime.specs.registry import SpecRegistry

                self._registry = await asyncio.to_thread(SpecRegistry, self._home / "specs")
            return self._registry

    # -- launches

    async def resolve(self, request: LaunchRequest, uid: str) -> Plan:
        """What a launch would be. Raises `NotFound`, `BadRequest`."""
        spec = (await self._specs()).get(request.model_type, request.model_name)
        return await asyncio.to_thread(self._engines().resolve, spec, request, uid)

    async def wake(self, connection: str) -> None:
        """Returns when it serves, loaded where that is needed. Raises `Unavailable` with the reason, `NotFound`."""
        launch = await self._launch(connection)
        rested = launch.state == "unloaded"
        await launch.wake()
        if rested:
            self._note_resting()

    async def begin(self, uid: str) -> None:
        """Load it, without waiting. Raises `NotFound`."""
        launch = await self._launch(uid)
        if launch.state in ("unloaded", "failed"):
            launch.begin()

    async def news(self, uid: str, seen: int, seconds: float) -> Running:
        """How it is, as soon as that is something else than version ``seen``. Raises `NotFound`."""
        launch = self._launches.get(uid)
        if launch is not None:
            await launch.news.wait(seen, seconds)
            return await asyncio.to_thread(launch.shown)
        if uid in self._failed:
            return self._failed[uid][1]
        raise _unknown(uid)

    async def running(self) -> list[Running]:
        """Everything that is launched, and what failed in the last hour."""
        launches = list(self._launches.values())
        calls = await self._source.activity([one.uid for one in launches]) if launches else {}
        idle = [_idle(one, calls.get(one.uid)) for one in launches]
        shown = await asyncio.gather(
            *(asyncio.to_thread(one.shown, since) for one, since in zip(launches, idle, strict=True))
        )
        self._forget_old()
        return [*shown, *(record for uid, (_, record) in self._failed.items() if uid not in self._launches)]

    async def stages(self, uid: str) -> list[Stage]:
        launch = self._launches.get(uid)
        if launch is not None:
            return list(launch.stages)
        return [(await self.news(uid, -1, 0.0)).stage]

    async def unload(self, uid: str) -> None:
        """End its processes; the next call loads it again. Raises `NotFound`."""
        launch = await self._launch(uid)
        await launch.unload("Unloaded on request")
        self._note_resting()

    async def drop(self, uid: str, replica: int) -> None:
        """End one replica. The catalog is then to say how many there are. Raises `NotFound`."""
        if not await (await self._launch(uid)).drop(replica):
            raise NotFound(f"{uid} has no replica {replica}.", code="replica_not_found")

    async def leaving(self, uid: str, drain_seconds: float) -> None:
        """It is about to be stopped; calls under way then have so many seconds."""
        if uid in self._launches:
            self._launches[uid].drain_seconds = drain_seconds

    async def gone(self, uid: str) -> None:
        """Returns when nothing is left of what was stopped. A failed launch of this name is forgotten."""
        self._failed.pop(uid, None)
        task = self._leaving.get(uid)
        if task is not None:
            await asyncio.shield(task)

    async def failed(self, uid: str) -> None:
        """Keep what is known of a launch that failed and is about to be taken out of the catalog."""
        launch = self._launches.get(uid)
        if launch is not None:
            self._failed[uid] = (time.monotonic(), launch.shown())
            self._forget_old()

    def _forget_old(self) -> None:
        long_ago = time.monotonic() - FAILED_SECONDS
        old = [uid for uid, (at, _) in self._failed.items() if at < long_ago]
        for uid in [*old, *list(self._failed)[: max(0, len(self._failed) - MOST_FAILED)]]:
            self._failed.pop(uid, None)

    # -- the machine

    async def engines(self) -> list[EngineShown]:
        return await asyncio.to_thread(self._engines().engines)

    async def cached(self) -> list[Cached]:
        specs = (await self._specs()).list()
        return await asyncio.to_thread(self._engines().cached, specs)

    async def remove_cached(self, path: str) -> None:
        await asyncio.to_thread(self._engines().remove_cached, path)

    def _engines(self) -> Runtime:
        if self._runtime is None:
            from byom.server.launching.local_runtime import LocalRuntime

            self._runtime = LocalRuntime(self._home, self._pythons)
        return self._runtime

    # -- in step with the catalog

    async def changed(self) -> None:
        """Returns when what the catalog says is under way. Many who ask at once are served together."""
        self._asked += 1
        # Who asks may leave; what is begun is done.
        await asyncio.shield(asyncio.ensure_future(self._agree_once(self._asked)))

    async def _agree_once(self, mine: int) -> None:
        async with self._agreeing:
            if self._agreed < mine and not self._closed:
                now = self._asked
                await self._agree()
                self._agreed = now

    async def _launch(self, uid: str) -> Launch:
        for _ in range(2):
            if uid in self._launches:
                return self._launches[uid]
            async with self._agreeing:
                await self._agree()
        raise _unknown(uid)

    async def _agree(self) -> None:
        wanted = {one.uid: one for one in await self._source.plans()}
        if self._closed:
            return
        first, self._began = not self._began, True
        for uid in self._launches.keys() - wanted.keys():
            self._let_go(self._launches.pop(uid))
        asleep = await asyncio.to_thread(self._resting.read) if first and wanted else set()
        for uid, plan in wanted.items():
            launch = self._launches.get(uid)
            if launch is not None:
                if launch.plan != plan:
                    await launch.configure(plan)
                continue
            if uid in self._leaving:
                await asyncio.gather(self._leaving[uid], return_exceptions=True)
            self._failed.pop(uid, None)
            launch = self._launches[uid] = Launch(plan, self._surroundings())
            if first and (not self._restore or uid in asleep):
                launch.rest()
            else:
                launch.begin()
        if self._launches and self._watching is None:
            self._watching = asyncio.ensure_future(self._watch())

    def _let_go(self, launch: Launch) -> None:
        self._source.publish(launch.uid, None)
        task = self._leaving[launch.uid] = asyncio.ensure_future(launch.end())
        task.add_done_callback(lambda _: self._leaving.pop(launch.uid, None))

    def _surroundings(self) -> Surroundings:
        if self._around is None:
            self._around = Surroundings(
                runtime=self._engines(), source=self._source, logs=self._home / "logs",
                fetching=asyncio.Semaphore(FETCHES), loading=asyncio.Semaphore(LOADS),
                leave=self._leave_for, reserved=self._reserved,
            )  # fmt: skip
        return self._around

    # -- idle models, and room for others

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._unload_idle()
            except (Unavailable, OSError) as error:
                log.warning("idle models were not looked for: %s", error)

    async def _unload_idle(self) -> None:
        wanted = [one for one in self._launches.values() if _may_rest(one)]
        if not wanted:
            return
        calls = await self._source.activity([one.uid for one in wanted])
        for launch in wanted:
            limit = launch.plan.request.idle_unload_seconds
            idle = _idle(launch, calls.get(launch.uid))
            if limit is not None and idle is not None and idle >= limit:
                await launch.unload(f"No call for {limit:g} s")
                self._note_resting()

    def _note_resting(self) -> None:
        names = {one.uid for one in self._launches.values() if one.state == "unloaded"}
        asyncio.get_running_loop().run_in_executor(None, functools.partial(self._resting.write, names))

    async def _leave_for(self, uid: str) -> str | None:
        """Unload what was not used for longest. Nothing that has calls under way, and nothing that is pinned."""
        those = [
            one for one in self._launches.values()
            if one.uid != uid and one.state == "ready" and not one.plan.request.pinned
        ]  # fmt: skip
        calls = await self._source.activity([one.uid for one in those]) if those else {}
        idle = {one.uid: _idle(one, calls.get(one.uid)) for one in those}
        resting = [one for one in those if idle[one.uid] is not None]
        if not resting:
            return None
        oldest = max(resting, key=lambda one: idle[one.uid] or 0.0)
        await oldest.unload(f"Unloaded to make room for {uid}")
        self._note_resting()
        return oldest.uid

    def _reserved(self, uid: str) -> Reserved:
        reserved = Reserved()
        for one in self._launches.values():
            if one.uid != uid:
                one.reserve(reserved)
        return reserved


def _may_rest(launch: Launch) -> bool:
    request = launch.plan.request
    return launch.state == "ready" and request.idle_unload_seconds is not None and not request.pinned


def _idle(launch: Launch, calls: tuple[int, float | None] | None) -> float | None:
    """Seconds without a call, ``None`` while there is one."""
    busy, since = calls or (0, None)
    if busy or launch.state in ON_THE_WAY:
        return None
    ready = time.monotonic() - launch.idle_since
    return ready if since is None else min(since, ready)


def _unknown(uid: str) -> NotFound:
    return NotFound(f"Model not found in the model list, uid: {uid}", code="model_not_running", param="uid")
