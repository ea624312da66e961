"""A hub's management API on a real loopback port, in a thread of its own, for clients that are plain functions."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn

from byom.server.api.application import create_api
from byom.settings import Settings
from byom.testing import FakeUpstream
from tests.server.api.conftest import SmallHub, small_hub
from tests.server.api.test_usage import row

READY_WITHIN = 20.0


class ServedHub:
    """With a connection ``lab``, its model ``one``, a user ``ann`` and one call; no other host is ever called."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.url = ""
        self.token = ""

    def __enter__(self) -> ServedHub:
        self._thread.start()
        assert self._ready.wait(READY_WITHIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(READY_WITHIN)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            hub = await stack.enter_async_context(small_hub(Settings(home=self._home)))
            upstream = await stack.enter_async_context(FakeUpstream(models=("one",)))
            await self._fill(hub, upstream)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            config = uvicorn.Config(create_api(hub), lifespan="off", log_config=None, access_log=False)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            self.url, self.token = f"http://127.0.0.1:{listener.getsockname()[1]}", hub.admin_token
            self._ready.set()
            await self._stop.wait()
            server.should_exit = True
            await serving

    async def _fill(self, hub: SmallHub, upstream: FakeUpstream) -> None:
        await hub.catalog.connections.create({"name": "lab", "url": upstream.base_url}, actor="test")
        await hub.catalog.models.create({"name": "one", "connection": "lab"}, actor="test")
        await hub.catalog.users.create({"name": "ann"}, actor="test")
        await hub.catalog.settings.update({"network": {"allow_hosts": ["127.0.0.1"]}}, actor="test")
        hub.ledger.append(row())
