"""What every call of the dialect needs of its hub."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from byom.errors import ModelNotFound
from byom.server.description import describe

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route, Snapshot
    from byom.server.hub import Hub
    from byom.server.launching.launching import Launching
    from byom.server.launching.records import Running


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    hub: Hub
    _under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def snapshot(self) -> Snapshot:
        return self.hub.gateway.snapshot

    @property
    def launching(self) -> Launching:
        return self.hub.launching

    @property
    def address(self) -> str:
        """Of this hub: host and port."""
        return urlsplit(self.hub.url).netloc or "127.0.0.1"

    async def running(self) -> list[Running]:
        return await self.launching.running()

    async def find(self, uid: str) -> Running | None:
        return next((run for run in await self.running() if run.uid == uid), None)

    async def get(self, uid: str) -> Running:
        """Raises `ModelNotFound`."""
        found = await self.find(uid)
        if found is None:
            raise ModelNotFound(f"Model not found in the model list, uid: {uid[:200]}", param="model_uid")
        return found

    def route(self, uid: str) -> Route | None:
        return self.snapshot.routes.get(uid)

    def description(self, uid: str) -> dict[str, Any]:
        """Empty where the catalog does not know it (yet)."""
        route = self.route(uid)
        return {} if route is None else describe(self.hub.catalog.state, route)

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of ``work``, which goes on when the caller leaves meanwhile."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def gpu_count(self) -> int:
        from byom.runtime.hardware import detect_hardware

        return len((await asyncio.to_thread(detect_hardware)).gpus)
