"""Two hubs on one database behind a proxy: each can be restarted while nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx2

from byom.testing import Behavior, FakeUpstream
from tests.server.balancer import balancer
from tests.server.load import Load
from tests.server.processes import HubProcess, fill, hub_process, rows_of

PER_SECOND = 50


class Paced(Load):
    """Calls at a rate, whatever becomes of them."""

    async def run(self, client: httpx2.AsyncClient) -> None:
        loop = asyncio.get_running_loop()
        under_way: set[asyncio.Task[None]] = set()
        due, number = loop.time(), 0
        while not self.stopping:
            task = asyncio.ensure_future(self.call(client, "plain", stream=bool(number % 2)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due, number = due + 1 / PER_SECOND, number + 1
            await asyncio.sleep(max(0.0, due - loop.time()))
        await asyncio.gather(*under_way)


async def test_no_request_fails_while_one_hub_after_the_other_is_restarted(tmp_path: Path, database_url: str) -> None:
    """gateway checklist 81"""
    homes = [tmp_path / "one", tmp_path / "two"]
    shared = {"database_url": database_url, "secret_key_file": str(homes[0] / "secret.key"), "drain_seconds": 20.0}
    load = Paced()
    async with FakeUpstream(Behavior(chunks=5, chunk_interval=0.02)) as upstream, contextlib.AsyncExitStack() as stack:
        filled = await fill(homes[0], upstream, database_url=database_url)
        hubs = [await stack.enter_async_context(hub_process(home, **shared)) for home in homes]
        ports = [int(hub.url.rpartition(":")[2]) for hub in hubs]
        proxy = await stack.enter_async_context(balancer(ports))
        headers = {"authorization": f"Bearer {filled.key}"}
        alone = httpx2.Limits(max_keepalive_connections=0, max_connections=None)
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{proxy}", headers=headers, limits=alone, timeout=30.0, trust_env=False
        ) as client:
            calling = asyncio.ensure_future(load.run(client))
            for hub, home, port in zip(hubs, homes, ports, strict=True):
                await asyncio.sleep(1.0)
                assert await hub.end() == 0
                await asyncio.sleep(0.5)
                await stack.enter_async_context(hub_process(home, **shared, port=port))
            await asyncio.sleep(1.0)
            load.stopping = True
            await calling
        assert (load.broken, dict(load.refused)) == (0, {})
        assert len(load.finished) > 5 * PER_SECOND
        # Calls of both hubs, before and after: whichever answered, the row is in the one ledger.
    ids: set[str] = set()
    for home in homes:
        ids |= {id_ for id_, _, _ in await rows_of(home, database_url)}
    assert set(load.finished) <= ids


async def test_two_hubs_with_workers_on_one_database_see_each_others_changes(tmp_path: Path, database_url: str) -> None:
    """gateway checklist 65 and 85: eight processes write to one database"""
    homes = [tmp_path / "one", tmp_path / "two"]
    shared = {"database_url": database_url, "secret_key_file": str(homes[0] / "secret.key"), "workers": 2}
    load = Load()
    async with FakeUpstream() as upstream:
        filled = await fill(homes[0], upstream, database_url=database_url)
        async with (
            hub_process(homes[0], **shared) as one,
            hub_process(homes[1], **shared) as two,
            load.on(two, filled.key, callers=6),
            one.client() as admin,
        ):
            tokens = [await _new_key(admin, number) for number in range(40)]
            await asyncio.sleep(1.0)
            assert [await _status(two, token) for token in tokens] == [200] * len(tokens)
        for hub in (one, two):
            assert "locked" not in hub.log()
            assert "Traceback" not in hub.log()
    assert (load.broken, dict(load.refused)) == (0, {})
    ids: set[str] = set()
    for home in homes:
        ids |= {id_ for id_, _, _ in await rows_of(home, database_url)}
    assert set(load.finished) <= ids


async def _new_key(admin: httpx2.AsyncClient, number: int) -> str:
    created = await admin.post("/api/keys", json={"name": f"key-{number}", "user": "caller"})
    assert created.status_code < 300, created.text
    token: str = created.json()["token"]
    return token


async def _status(hub: HubProcess, token: str) -> int:
    async with hub.client(token, fresh=True) as client:
        return (await client.get("/v1/models")).status_code
