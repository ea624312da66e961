"""A hub for the management API: a real catalog, a real ledger, and no server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.catalog.catalog import Catalog
from byom.errors import Unavailable
from byom.ledger.ledger import Gauges, Ledger
from byom.server.api.application import create_api
from byom.server.host_state import CodeKeeper, HostState
from byom.server.launching.catalog_weights import CatalogWeights
from byom.server.launching.keeper import Keeper
from byom.server.launching.launching import Launching
from byom.settings import Settings


@dataclass
class Calls:
    """Stands for the gateway: the calls under way are what a test puts here."""

    under_way: list[dict[str, Any]] = field(default_factory=list)
    circuits: dict[str, str] = field(default_factory=dict)

    def live(self) -> list[dict[str, Any]]:
        return self.under_way

    def activity(self, connection: str) -> tuple[int, float | None]:
        return sum(call.get("connection") == connection for call in self.under_way), None


class NoCode:
    """Stands for the keeper of code: nothing runs."""

    async def wake(self, connection: str) -> None:
        raise Unavailable(f"{connection} is not running", code="model_not_running")

    async def restart(self, connection: str) -> HostState:
        raise Unavailable(f"{connection} is not running", code="model_not_running")

    async def states(self) -> dict[str, HostState]:
        return {}

    async def changed(self) -> None: ...


@dataclass
class SmallHub:
    settings: Settings
    catalog: Catalog
    ledger: Ledger
    gateway: Calls = field(default_factory=Calls)
    started_at: float = field(default_factory=time.time)
    code: CodeKeeper = field(default_factory=NoCode)

    def __post_init__(self) -> None:
        self.weights = Keeper(CatalogWeights(self.catalog, self.gateway), self.settings.home)  # type: ignore[arg-type]
        self.launching = Launching(self)

    @property
    def logs(self) -> Path:
        return self.settings.home / "logs"

    async def spread(self) -> None: ...

    def client(self, token: str | None, *, address: str = "127.0.0.1") -> httpx2.AsyncClient:
        """Calls the API in this process, as somebody at ``address`` with this key."""
        transport = httpx2.ASGITransport(app=create_api(self), client=(address, 50000))
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=headers)

    async def wake(self, connection: str) -> None:
        raise Unavailable(f"{connection} is not running", code="model_not_running")

    async def circuits(self) -> dict[str, str]:
        return self.gateway.circuits

    async def calls_under_way(self) -> list[dict[str, Any]]:
        return self.gateway.live()

    async def ledger_gauges(self) -> Gauges:
        return self.ledger.gauges()

    @property
    def admin_token(self) -> str:
        return self.settings.admin_key_file.read_text().strip()

    async def token(self, **fields: Any) -> tuple[str, str]:
        """A new key: its id and its token."""
        created = await self.catalog.keys.create({"name": "one", **fields}, actor="test")
        return created.key.id, created.token


@asynccontextmanager
async def small_hub(settings: Settings) -> AsyncIterator[SmallHub]:
    catalog = await Catalog.open(settings)
    ledger = Ledger(settings.database, settings.home / "spool", engine=catalog.store.engine)
    await ledger.start()
    hub = SmallHub(settings, catalog, ledger)
    try:
        yield hub
    finally:
        await hub.launching.stop()
        await hub.weights.stop()
        await ledger.stop()
        await catalog.close()


@pytest.fixture
async def hub(tmp_path: Path, database_url: str) -> AsyncIterator[SmallHub]:
    """On SQLite and on PostgreSQL."""
    async with small_hub(Settings(home=tmp_path, database_url=database_url)) as hub:
        yield hub


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[SmallHub]:
    """On SQLite alone, for what has nothing to do with the database."""
    async with small_hub(Settings(home=tmp_path)) as hub:
        yield hub


@pytest.fixture
async def admin(hub: SmallHub) -> AsyncIterator[httpx2.AsyncClient]:
    async with hub.client(hub.admin_token) as client:
        yield client


@pytest.fixture
async def local_admin(local: SmallHub) -> AsyncIterator[httpx2.AsyncClient]:
    async with local.client(local.admin_token) as client:
        yield client
