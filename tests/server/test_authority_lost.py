"""What happens to calls when the process that keeps the limits cannot be reached."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from byom.ledger.ledger import Gauges
from byom.limits.authority import Authority
from byom.limits.local import LocalLimiter
from byom.limits.remote import RemoteLimiter
from byom.server import metrics
from byom.server.hub import Hub
from byom.server.launching.catalog_weights import CatalogWeights
from byom.server.launching.keeper import Keeper
from byom.server.measures import Measures
from byom.settings import Settings, load_settings
from byom.testing import FakeUpstream
from tests.server.api.conftest import NoCode
from tests.server.processes import ASK, fill, until


class OnlyOne:
    """The siblings of a worker that has none; its limits are elsewhere all the same."""

    worker = 0
    hub: Hub

    def __init__(self, limiter: RemoteLimiter) -> None:
        self.limiter = limiter
        self.code = NoCode()

    @functools.cached_property
    def weights(self) -> Keeper:
        return Keeper(CatalogWeights(self.hub.catalog, self.hub.gateway), self.hub.settings.home)

    async def measures(self) -> list[Measures]:
        return [metrics.measures(self.hub, 0)]

    async def live(self) -> list[list[dict[str, Any]]]:
        return [self.hub.gateway.live()]

    async def problems(self) -> list[list[str]]:
        return [self.hub.problems()]

    async def ledgers(self) -> list[Gauges]:
        return [self.hub.ledger.gauges()]

    async def spread(self) -> None:
        """There is nobody else."""

    def owned(self, thing: str, user: str) -> None:
        """There is nobody else."""


@asynccontextmanager
async def worker(settings: Settings, limits: Path) -> AsyncIterator[Hub]:
    limiter = RemoteLimiter(limits)
    await limiter.start()
    siblings = OnlyOne(limiter)
    hub = siblings.hub = Hub(settings, siblings=siblings)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop(0.0)
        await limiter.stop()


async def test_calls_with_limits_are_refused_while_nobody_keeps_them_and_others_go_on(tmp_path: Path) -> None:
    """gateway checklist 51: closed, not open, and never silent"""
    limits = tmp_path / "limits.sock"
    authority = Authority(LocalLimiter(), limits)
    await authority.start()
    async with FakeUpstream() as upstream:
        models = {"limited": {"limits": {"rate_limit": [3, 3600]}}, "free": {}}
        filled = await fill(tmp_path / "home", upstream, models=models)
        settings = load_settings({"home": str(tmp_path / "home")}, environ={})
        async with (
            worker(settings, limits) as hub,
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=hub.app), base_url="http://hub") as client,
        ):
            client.headers["authorization"] = f"Bearer {filled.key}"

            async def ask(model: str) -> httpx2.Response:
                return await client.post("/v1/chat/completions", json={"model": model, **ASK})

            assert (await ask("limited")).status_code == 200
            assert (await client.get("/readyz")).status_code == 200
            await authority.stop()
            await until(lambda: not hub.limiter.connected)
            refused = await ask("limited")
            assert refused.status_code == 429
            assert "the process that keeps the limits is away" in refused.json()["error"]["message"]
            assert int(refused.headers["retry-after"]) >= 1
            assert (await ask("free")).status_code == 200
            ready = await client.get("/readyz")
            assert (ready.status_code, len(ready.json()["problems"])) == (503, 1)
            # With another authority it goes on by itself.
            authority = Authority(LocalLimiter(), limits)
            await authority.start()
            await until(lambda: hub.limiter.connected)
            assert [(await ask("limited")).status_code for _ in range(4)] == [200, 200, 200, 429]
            assert (await client.get("/readyz")).status_code == 200
    assert len(upstream.requests) == 5
    await authority.stop()
