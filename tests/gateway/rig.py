"""A gateway on a real socket, before fake upstreams on real sockets, with everything on and nothing else around it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from byom.catalog.snapshot import CallerKey, GatewaySettings, Route, Snapshot
from byom.gateway.asgi import GatewayApp
from byom.gateway.gateway import Gateway
from byom.gateway.http.listener import Listener
from byom.ledger.row import Row
from byom.limits.local import LocalLimiter
from byom.server.app import HubApp
from byom.server.fallback import Fallback
from byom.testing import FakeUpstream
from byom.types.limits import Limits, Scope
from byom.types.target import NetworkPolicy, Target
from byom.types.usage import Price

TOKEN = "sk-byom-abcdefghijkl-" + "a" * 33
OTHER_TOKEN = "sk-byom-mnopqrstuvwx-" + "b" * 33
MODEL = "mock-model"
PRICE = Price(input=150_000, output=600_000, version="test")


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Returns when the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the gateway sets no events for tests
            await asyncio.sleep(0.005)


class Front:
    """As much of a hub as its application needs for ``/v1``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def check_origin(self, host: str, origin: str) -> None:
        """Everybody is welcome."""


class Rig:
    """``url`` is the gateway's base URL with ``/v1``; ``rows`` the ledger so far."""

    def __init__(self, gateway: Gateway, listener: Listener, listening: socket.socket, rows: list[Row]) -> None:
        self.gateway = gateway
        self.listener = listener
        self.listening = listening
        self.port: int = listening.getsockname()[1]
        self.rows = rows
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.headers = {"authorization": f"Bearer {TOKEN}"}

    async def wait_for_rows(self, count: int, seconds: float = 5.0) -> list[Row]:
        """The rows, when there are as many."""
        await until(lambda: len(self.rows) >= count, seconds)
        return self.rows

    def change_route(self, name: str = MODEL, **changes: Any) -> None:
        """Swap the catalog for one in which this model is another."""
        old = self.gateway.snapshot
        route = msgspec.structs.replace(old.routes[name], **changes)
        models = tuple(route if one.name == name else one for one in old.models)
        self.swap(models=models, routes={one.name: one for one in models})

    def swap(self, **changes: Any) -> None:
        snapshot = msgspec.structs.replace(self.gateway.snapshot, **changes)
        self.gateway.swap(msgspec.structs.replace(snapshot, version=snapshot.version + 1))

    def settled(self) -> bool:
        """Nothing is held: no call, no reservation."""
        return not self.gateway.active and not self.gateway.limiter.reservations  # type: ignore[attr-defined]


def target_of(upstream: FakeUpstream, **changes: Any) -> Target:
    port = int(upstream.url.rpartition(":")[2])
    scheme = upstream.url.partition(":")[0]
    base = upstream.base_url.removeprefix(upstream.url)
    fields = {"scheme": scheme, "host": "127.0.0.1", "port": port, "base_path": base, "authorization": "Bearer up-key"}
    return Target(**(fields | changes))  # type: ignore[arg-type]


def route_to(upstream: FakeUpstream | Target, name: str = MODEL, **changes: Any) -> Route:
    target = upstream if isinstance(upstream, Target) else target_of(upstream)
    fields: dict[str, Any] = {
        "name": name,
        "model_id": f"id-{name}",
        "connection": f"to-{name}",
        "connection_id": f"cid-{name}",
        "upstream_model": name,
        "target": target,
        "abilities": frozenset({"chat", "generate", "embed", "rerank", "vision", "tools", "json"}),
        "price": PRICE,
    }
    return Route(**(fields | changes))


def key(token: str = TOKEN, *, limits: Limits | None = None, **changes: Any) -> CallerKey:
    key_id = token[8:20]
    fields: dict[str, Any] = {
        "id": key_id,
        "digest": hashlib.sha256(token.encode()).digest(),
        "user_id": f"user-{key_id}",
        "user_name": f"name-{key_id}",
        "name": f"key-{key_id}",
        "role": "inference",
        "scopes": () if limits is None else (Scope(f"key:{key_id}", limits),),
        "max_wait": 0.0 if limits is None else limits.max_wait,
    }
    return CallerKey(**(fields | changes))


def snapshot_of(*routes: Route, keys: tuple[CallerKey, ...] = (), **settings: Any) -> Snapshot:
    callers = keys or (key(),)
    return Snapshot(
        version=1,
        routes={route.name: route for route in routes},
        models=routes,
        connections={route.connection: route.target for route in routes},
        keys={caller.id: caller for caller in callers},
        network=NetworkPolicy(),
        settings=GatewaySettings(**settings),
    )


@asynccontextmanager
async def running(snapshot: Snapshot, *, server: str = "own", **options: Any) -> AsyncIterator[Rig]:
    """A gateway with this catalog. Everything it holds is checked to be given back in the end.

    ``server``: ``own`` is the gateway's, ``asgi`` is uvicorn's, with the gateway as its application,
    ``hub`` the same with the whole application of a hub before it.
    """
    loop = asyncio.get_running_loop()
    rows: list[Row] = []
    numbers = itertools.count()
    gateway = Gateway(
        snapshot,
        limiter=LocalLimiter(),
        record=rows.append,
        new_id=lambda: f"req_{next(numbers):06d}",
        loop=loop,
        **options,
    )
    gateway.start()
    asgi = Fallback(HubApp(Front(gateway)) if server == "hub" else GatewayApp(gateway))
    listener = Listener(gateway, asgi.protocol, loop=loop, check_origin=lambda host, origin: None)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0)
    uvicorn_server = None
    if server != "own":
        uvicorn_server = await loop.create_server(asgi.protocol, sock=listening)
    else:
        await listener.listen(listening)
    rig = Rig(gateway, listener, listening, rows)
    try:
        yield rig
        await until(rig.settled)
    finally:
        listener.stop_accepting()
        if uvicorn_server is not None:
            uvicorn_server.close()
        await gateway.drain(0.0)
        await asgi.stop(2.0)
        gateway.close()
        listener.close()
