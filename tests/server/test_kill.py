"""``kill -9``: what a hub answered is in its ledger, nothing of it runs on, and it starts again as if nothing were."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream
from tests.server.load import Load
from tests.server.processes import ASK, alive, counted, fill, hub_process, launch, rows_of, until

KILLS = 20


async def test_twenty_kills_under_load_lose_no_row_of_a_finished_answer_and_double_none(tmp_path: Path) -> None:
    """gateway checklist 50, and the first promise of the design"""
    home = tmp_path / "home"
    chance = random.Random(7)
    load = Load()
    async with FakeUpstream(Behavior(tokens=("one", " two", " three"), latency=0.002)) as upstream:
        filled = await fill(home, upstream)
        for _ in range(KILLS):
            before = len(load.finished)
            async with hub_process(home) as hub, load.on(hub, filled.key):
                await until(lambda before=before: len(load.finished) > before)
                await asyncio.sleep(chance.choice([0.0, 0.05, 0.1, 0.3]))
                children = hub.children()
                assert await hub.end(signal.SIGKILL) == -signal.SIGKILL
                await until(lambda children=children: not any(map(alive, children)), 10)
                load.stopping = True
        # The last start is a clean one, too, and takes over what is left.
        async with hub_process(home) as hub, hub.client() as client:
            assert (await client.get("/readyz")).status_code == 200
            assert await hub.end() == 0
    ids = [id_ for id_, _, _ in await rows_of(home)]
    assert len(load.finished) == len(set(load.finished))
    assert set(load.finished) <= set(ids)
    assert len(ids) == len(set(ids)) == await counted(home)
    assert list((home / "spool").glob("*.seg")) == []
    assert len(load.finished) >= 500


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_killed_hub_leaves_no_process_and_the_next_one_has_its_port(tmp_path: Path, workers: int) -> None:
    home = tmp_path / "home"
    async with FakeUpstream() as upstream:
        await fill(home, upstream)
        async with hub_process(home, workers=workers) as hub, hub.client() as client:

            async def builtin_answers() -> bool:
                body = {"model": "extractive", **ASK}
                return (await client.post("/v1/chat/completions", json=body)).status_code == 200

            await until(builtin_answers)
            assert len(hub.children("byom.host.builtin")) == 1
            children = hub.children()
            assert len(children) == (1 if workers == 1 else workers + 1)
            port = int(hub.url.rpartition(":")[2])
            await hub.end(signal.SIGKILL)
            await until(lambda: not any(map(alive, children)), 10)
            assert (home / "hub.json").exists()
        async with hub_process(home, workers=workers, port=port) as hub, hub.client() as client:
            assert hub.url.endswith(f":{port}")
            assert (await client.get("/readyz")).status_code == 200
            assert await hub.end() == 0
        assert not (home / "hub.json").exists()


async def test_a_killed_worker_is_replaced_while_the_others_go_on_and_no_row_is_lost(tmp_path: Path) -> None:
    """gateway checklist 50"""
    home = tmp_path / "home"
    load = Load()
    async with FakeUpstream(Behavior(tokens=("one", " two"), latency=0.002)) as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, workers=3) as hub, load.on(hub, filled.key):
            for _ in range(3):
                before = len(load.finished)
                await until(lambda before=before: len(load.finished) > before + 50)
                killed = hub.workers[1]
                os.kill(killed, signal.SIGKILL)
                at = len(load.finished)
                await until(lambda at=at: len(load.finished) > at + 50)
                await until(lambda killed=killed: killed not in hub.workers and len(hub.workers) == 3)
            async with hub.client(fresh=True) as client:

                async def three() -> bool:
                    return "\nbyom_workers 3.0\n" in (await client.get("/metrics")).text

                await until(three)
                text = (await client.get("/metrics")).text
                assert "\nbyom_worker_restarts 3.0\n" in text
    assert load.refused == {}
    ids = [id_ for id_, _, _ in await rows_of(home)]
    assert set(load.finished) <= set(ids)
    assert len(ids) == len(set(ids)) == await counted(home)


async def test_what_a_killed_worker_held_is_free_again_at_once(tmp_path: Path) -> None:
    """gateway checklist 50"""
    home = tmp_path / "home"
    async with FakeUpstream(Behavior(hang=True)) as upstream:
        filled = await fill(home, upstream, models={"plain": {"limits": {"concurrency": 6}}})
        async with hub_process(home, workers=2) as hub, hub.client(filled.key, fresh=True) as client:
            body = {"model": "plain", "messages": [{"role": "user", "content": "?"}]}

            async def ask() -> int:
                try:
                    return (await client.post("/v1/chat/completions", json=body)).status_code
                except httpx2.HTTPError:
                    return 0

            asked = [asyncio.ensure_future(ask()) for _ in range(6)]
            await until(lambda: len(upstream.requests) == 6)
            assert await ask() == 429
            for pid in hub.workers:
                os.kill(pid, signal.SIGKILL)
            assert await asyncio.gather(*asked) == [0] * 6
            upstream.set_default(Behavior(tokens=("free",)))

            async def serves() -> bool:
                return await ask() == 200

            await until(serves)
            found = await asyncio.gather(*(ask() for _ in range(6)))
            assert found == [200] * 6


async def test_counters_do_not_fall_when_a_worker_dies(tmp_path: Path) -> None:
    """gateway checklist 91"""
    home = tmp_path / "home"
    load = Load()
    async with FakeUpstream() as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, workers=2) as hub:
            async with load.on(hub, filled.key, callers=8, fresh=True):
                await until(lambda: len(load.finished) >= 100)
            async with hub.client(fresh=True) as client:

                async def total() -> float:
                    text = (await client.get("/metrics")).text
                    lines = [line for line in text.splitlines() if line.startswith("byom_calls_total{")]
                    return sum(float(line.rpartition(" ")[2]) for line in lines)

                before = await total()
                assert before == len(load.finished)
                os.kill(hub.workers[0], signal.SIGKILL)
                await until(lambda: "it is replaced" in hub.log())
                seen = []
                for _ in range(10):
                    try:
                        seen.append(await total())
                    except httpx2.HTTPError:
                        continue
                assert set(seen) == {before}


async def test_a_home_that_is_in_use_is_refused_with_a_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub:
        process, url = await launch(hub.flags)
        assert (await process.wait(), url) == (1, "")
        assert f"Another hub is running with the home {home}" in hub.log()
        async with hub.client() as client:
            assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("others", [1, 2])
async def test_a_port_that_is_taken_is_refused_with_a_line(tmp_path: Path, workers: int, others: int) -> None:
    """Also where both hubs share their port among processes, which the system would let happen."""
    async with hub_process(tmp_path / "one", workers=others) as hub:
        port = int(hub.url.rpartition(":")[2])
        second = tmp_path / "two"
        second.mkdir()
        process, url = await launch({"home": str(second), "port": port, "workers": workers})
        assert (await process.wait(), url) == (1, "")
        log = (second / "hub.log").read_text()
        assert f"Cannot listen on 127.0.0.1:{port}" in log
        assert "--port" in log
