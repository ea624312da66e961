"""Launching, as the management API and the dialects use it: specs, launches, and how they are."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import string
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from byom.errors import Conflict, NotFound, Unavailable
from byom.server.launching import catalog_weights, request
from byom.server.launching.launch import replica_log
from byom.server.launching.records import ON_THE_WAY, Cached, EngineShown, Running, Stage
from byom.server.launching.request import LaunchRequest
from byom.server.launching.seam import Plan
from byom.server.launching.weights_keeper import WeightsKeeper
from byom.server.log_file import last_lines, log_path

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog

SYSTEM = "system"
NEWS_SECONDS = 10.0
Progress = Callable[[Stage], None]


class LaunchingHub(Protocol):
    """What launching needs of a hub."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def weights(self) -> WeightsKeeper: ...

    @property
    def logs(self) -> Path: ...

    async def spread(self) -> None:
        """Have every process of the hub use the catalog as it is now."""


class LaunchFailed(Unavailable):
    """It could not be loaded. ``details``: the engine's ``last_words``."""

    code = "launch_failed"


class LaunchCancelled(Conflict):
    """Somebody stopped it while it was loading."""

    code = "launch_cancelled"


class Launching:
    """``hub.launching``"""

    def __init__(self, hub: LaunchingHub) -> None:
        self._hub = hub
        self._finishing: set[asyncio.Task[None]] = set()

    @property
    def _keeper(self) -> WeightsKeeper:
        return self._hub.weights

    async def stop(self) -> None:
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)

    # -- specs

    async def register(
        self,
        spec: Mapping[str, Any] | str,
        *,
        type: str | None = "LLM",  # noqa: A002 - the word of the clients
        persist: bool = True,
        replace: bool = False,
    ) -> dict[str, Any]:
        """Check a spec and keep it; what it is (as `spec` has it), and ``notes`` on how it was understood.

        Raises `SpecInvalid` with every problem, `Conflict` where the name is taken.
        """
        document = spec if isinstance(spec, str) else dict(spec)
        found = await self._keeper.register(document, type, persist, replace)
        return {"spec": _rendered(found["spec"]), "notes": found["notes"]}

    async def unregister(self, kind: str, name: str) -> bool:
        """Whether there was one. What runs of it goes on."""
        return await self._keeper.unregister(kind, name)

    async def specs(self, kind: str | None = None, detailed: bool = False) -> list[dict[str, Any]]:
        """By name: ``model_name``, ``model_type``, ``is_builtin`` and ``persisted``, and in detail the whole spec."""
        found = []
        for one in await self._keeper.specs(kind):
            spec = one["spec"]
            head = {"model_name": spec["name"], "model_type": spec["kind"], "is_builtin": spec.get("builtin", False)}
            shown = _rendered(spec) if detailed else {}
            found.append({**shown, **head, "persisted": one["persisted"]})
        return found

    async def spec(self, kind: str, name: str) -> dict[str, Any]:
        """The spec as it can be registered. Raises `NotFound`."""
        return _rendered(await self._keeper.spec(kind, name))

    # -- launches

    async def explain(self, request: LaunchRequest) -> Plan:
        """What would be launched, and why. Raises `NotFound`, `BadRequest` that says what would be right."""
        return await self._keeper.resolve(request, request.uid or self._free_uid(request.model_name))

    async def launch(
        self,
        request: LaunchRequest,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        actor: str = SYSTEM,
    ) -> str:
        """The uid of a model that is ready, or without ``wait`` on its way. ``progress`` hears of each stage.

        Raises `NotFound`, `BadRequest`, `Conflict` where the uid is taken, `LaunchFailed` with the reason, and then
        nothing of it is left; `LaunchCancelled`. Who is cancelled while waiting cancels the launch.
        """
        plan = await self.explain(request)
        plan = await self._stored(plan, request, actor)
        await self._keeper.changed()
        await self._keeper.begin(plan.uid)
        if not wait:
            task = asyncio.ensure_future(self._finished(plan.uid, None, actor))
            self._finishing.add(task)
            task.add_done_callback(self._end_quietly)
            return plan.uid
        try:
            await self._finished(plan.uid, progress, actor)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._take_out(plan.uid, actor)))
            raise
        return plan.uid

    def _end_quietly(self, task: asyncio.Task[None]) -> None:
        """A launch that nobody waits for says in its state how it went."""
        self._finishing.discard(task)
        if not task.cancelled():
            task.exception()

    async def _stored(self, plan: Plan, request: LaunchRequest, actor: str) -> Plan:
        for _ in range(3):
            try:
                await catalog_weights.add(self._hub.catalog, plan, actor=actor)
            except Conflict as conflict:
                if request.uid is not None:
                    raise self._taken(plan.uid) from conflict
                plan = msgspec.structs.replace(plan, uid=self._free_uid(request.model_name))
            else:
                return plan
        raise self._taken(plan.uid)

    def _taken(self, uid: str) -> Conflict:
        row = self._hub.catalog.state.connection(uid)
        if row is not None and row.kind == catalog_weights.KIND:
            text = f"{uid} is launched already. A second one needs another uid; more processes of it are replicas."
        else:
            text = f"{uid} is the name of another model or connection. Launch it with another uid."
        return Conflict(text, code="uid_taken", param="uid")

    def _free_uid(self, name: str) -> str:
        """The model's name; where that is taken, with random characters."""
        plain = re.sub(r"[/:]", "-", name)[:90]
        if not catalog_weights.taken(self._hub.catalog.state, plain):
            return request.check_uid(plain)
        letters = string.ascii_lowercase + string.digits
        return request.check_uid(f"{plain}-{''.join(secrets.choice(letters) for _ in range(8))}")

    async def _finished(self, uid: str, progress: Progress | None, actor: str) -> None:
        """Returns when it is ready."""
        said: Stage | None = None
        async for running in self.news(uid):
            if progress is not None and running.stage != said:
                said = running.stage
                progress(said)
            if running.state == "failed":
                await self._keeper.failed(uid)
                await self._take_out(uid, actor, forget=False)
                words = {"last_words": running.last_words} if running.last_words else None
                raise LaunchFailed(f"{uid} could not be launched. {running.reason}", details=words)
            if running.state not in (*ON_THE_WAY, "stopping"):
                return
        raise LaunchCancelled(f"The launch of {uid} was cancelled.")

    async def _take_out(self, uid: str, actor: str, *, drain: float = 0.0, forget: bool = True) -> None:
        await self._keeper.leaving(uid, drain)
        with contextlib.suppress(NotFound):
            await self._hub.catalog.connections.delete(uid, actor=actor)
        await self._hub.spread()
        await self._keeper.changed()
        if forget:
            await self._keeper.gone(uid)

    async def terminate(self, uid: str, *, drain_seconds: float = 0.0, actor: str = SYSTEM) -> None:
        """Stop it, at any stage; returns when nothing of it is left. ``drain_seconds``: for calls under way.

        Raises `NotFound`.
        """
        if self._hub.catalog.state.connection(uid) is None:
            await self._keeper.news(uid, -1, 0.0)  # one that failed is forgotten; else there is none
            await self._keeper.gone(uid)
            return
        catalog_weights.require(self._hub.catalog.state, uid)
        await self._take_out(uid, actor, drain=drain_seconds)

    async def cancel(self, uid: str, *, actor: str = SYSTEM) -> None:
        """Stop it if it is on its way. Raises `NotFound`, `Conflict` where it is ready already."""
        running = await self.get(uid)
        if running.state not in ON_THE_WAY:
            raise Conflict(f"{uid} is {running.state}, and no longer on its way. Terminate it to stop it.")
        await self.terminate(uid, actor=actor)

    async def unload(self, uid: str) -> None:
        """End its processes; the first call starts them again. Raises `NotFound`."""
        catalog_weights.require(self._hub.catalog.state, uid)
        await self._keeper.unload(uid)

    async def load(self, uid: str) -> None:
        """Returns when it serves. Raises `NotFound`, `Unavailable` with the reason."""
        catalog_weights.require(self._hub.catalog.state, uid)
        await self._keeper.wake(uid)
        async for running in self.news(uid):
            if running.state not in ON_THE_WAY:
                return

    # -- replicas

    async def scale(self, uid: str, replicas: int, *, actor: str = SYSTEM) -> Running:
        """Have so many; returns when they are ready. Raises `NotFound`, `LaunchFailed` where some did not start."""
        plan = catalog_weights.plan_of(catalog_weights.require(self._hub.catalog.state, uid))
        await self._scale(plan, replicas, actor)
        async for running in self.news(uid):
            if running.state in ON_THE_WAY:
                continue
            if running.state == "ready" and len(running.replicas) < replicas:
                await self._scale(plan, max(1, len(running.replicas)), actor)
                raise LaunchFailed(f"Not all replicas of {uid} could be started. {running.reason}")
            if running.state != "ready" or all(one.state == "ready" for one in running.replicas):
                return running
        raise LaunchCancelled(f"{uid} was stopped.")

    async def remove_replica(self, uid: str, replica: int, *, actor: str = SYSTEM) -> int:
        """How many are left. Raises `NotFound`, `Conflict` for the last one."""
        plan = catalog_weights.plan_of(catalog_weights.require(self._hub.catalog.state, uid))
        if plan.request.replicas < 2:
            raise Conflict(f"{uid} has no other replica. Terminate the model instead.")
        await self._keeper.drop(uid, replica)
        await self._scale(plan, plan.request.replicas - 1, actor)
        return plan.request.replicas - 1

    async def _scale(self, plan: Plan, replicas: int, actor: str) -> None:
        fields = msgspec.to_builtins(plan.request) | {"replicas": replicas}
        changed = msgspec.structs.replace(plan, request=request.of(fields))
        await catalog_weights.change(self._hub.catalog, changed, actor=actor)
        await self._keeper.changed()

    # -- how it is

    async def running(self) -> list[Running]:
        """Everything that is launched, and what failed in the last hour."""
        return await self._keeper.running()

    async def get(self, uid: str) -> Running:
        """Raises `NotFound`."""
        return await self._keeper.news(uid, -1, 0.0)

    async def progress(self, uid: str) -> tuple[float, list[Stage]]:
        """How much of the launch is done, 0 to 1, and its stages until now. Raises `NotFound`."""
        running = await self.get(uid)
        return running.fraction, await self._keeper.stages(uid)

    async def news(self, uid: str) -> AsyncIterator[Running]:
        """How it is, now and whenever that changes, until it is gone."""
        seen = -1
        while True:
            try:
                running = await self._keeper.news(uid, seen, NEWS_SECONDS)
            except NotFound:
                return
            if running.version != seen:
                yield running
            seen = running.version
            if running.state == "failed":
                return

    async def events(self, uid: str) -> AsyncIterator[Stage]:
        """The stages of a launch, from its begin until it is ready, failed or gone. Raises `NotFound`."""
        _, before = await self.progress(uid)
        last = None
        for stage in before:
            last = stage
            yield stage
        async for running in self.news(uid):
            if running.stage != last:
                last = running.stage
                yield last
            if running.state not in (*ON_THE_WAY, "stopping"):
                return

    def log_file(self, uid: str, replica: int | None = None) -> Path:
        """Of one replica; without a number that of the launch itself, with what all of them wrote."""
        folder = self._hub.logs
        return log_path(folder, uid) if replica is None else Path(replica_log(folder, uid, replica))

    async def logs(self, uid: str, replica: int | None = None, lines: int = 200) -> str:
        """The last lines that an engine wrote. Empty where there is no log."""
        found = await asyncio.to_thread(last_lines, self.log_file(uid, replica), lines)
        return found.decode("utf-8", "replace")

    # -- the machine

    async def engines(self) -> list[EngineShown]:
        return await self._keeper.engines()

    async def cached(self) -> list[Cached]:
        return await self._keeper.cached()

    async def remove_cached(self, path: str) -> None:
        """Raises `NotFound`, `Conflict` for weights that are in use."""
        for running in await self.running():
            if running.state != "failed" and _uses(running, path):
                raise Conflict(f"{running.uid} uses these weights. Stop it first.")
        await self._keeper.remove_cached(path)


def _uses(running: Running, path: str) -> bool:
    return any(one.get("path") == path for one in running.spec.get("variants", ()) if isinstance(one, dict))


def _rendered(spec: dict[str, Any]) -> dict[str, Any]:
    from byom.runtime.specs.forms import ModelSpec
    from byom.runtime.specs.render import render_spec

    return render_spec(msgspec.convert(spec, ModelSpec))
