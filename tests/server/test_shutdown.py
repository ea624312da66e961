"""How a hub ends when it is told to: what is under way is finished, what comes is told, nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream
from tests.server.processes import ASK, alive, fill, hub_process, launch, rows_of, until

STREAMS = 50
HALF_WAY = Behavior(chunks=30, chunk_interval=0.05)


class Streams:
    """Open streams, and what came of them."""

    def __init__(self) -> None:
        self.begun = 0
        self.whole: list[str] = []
        self.texts: list[str] = []
        self.broken = 0

    async def one(self, client: httpx2.AsyncClient) -> None:
        try:
            body = {"model": "plain", "stream": True, **ASK}
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200
                self.begun += 1
                text = await answer.aread()
        except httpx2.HTTPError:
            self.broken += 1
            return
        self.texts.append(text.decode())
        if text.rstrip().endswith(b"data: [DONE]"):
            self.whole.append(answer.headers["x-request-id"])

    async def open(self, client: httpx2.AsyncClient, count: int) -> list[asyncio.Task[None]]:
        tasks = [asyncio.ensure_future(self.one(client)) for _ in range(count)]
        await until(lambda: self.begun == count)
        return tasks


@pytest.mark.parametrize("workers", [1, 3])
async def test_fifty_open_streams_end_whole_after_sigterm(tmp_path: Path, workers: int) -> None:
    """gateway checklist 80"""
    home, streams = tmp_path / "home", Streams()
    async with FakeUpstream(HALF_WAY) as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, workers=workers, drain_seconds=20.0) as hub, hub.client(filled.key) as client:
            tasks = await streams.open(client, STREAMS)
            children = hub.children()
            assert await hub.end() == 0
            await asyncio.gather(*tasks)
            assert not any(map(alive, children))
    assert (len(streams.whole), streams.broken) == (STREAMS, 0)
    rows = {id_: state for id_, state, _ in await rows_of(home)}
    assert {rows[id_] for id_ in streams.whole} == {"ok"}
    assert not (home / "hub.json").exists()
    assert list((home / "spool").glob("*.seg")) == []
    assert list((home / "run").glob("*")) == [] if workers > 1 else True


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stream_that_outlasts_the_time_for_draining_gets_an_error_event(tmp_path: Path, workers: int) -> None:
    """gateway checklist 80"""
    home, streams = tmp_path / "home", Streams()
    async with FakeUpstream(Behavior(chunks=1000, chunk_interval=0.05)) as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, workers=workers, drain_seconds=0.5) as hub, hub.client(filled.key) as client:
            tasks = await streams.open(client, 6)
            assert await hub.end() == 0
            await asyncio.gather(*tasks)
    assert (len(streams.texts), len(streams.whole), streams.broken) == (6, 0, 0)
    assert all('"error"' in text for text in streams.texts)
    assert len(await rows_of(home)) == 6


async def test_a_stopping_hub_takes_no_new_connection_and_says_so_on_old_ones(tmp_path: Path) -> None:
    """gateway checklist 80"""
    home, streams = tmp_path / "home", Streams()
    async with FakeUpstream(HALF_WAY) as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, drain_seconds=20.0) as hub, hub.client(filled.key) as client:
            async with hub.client(fresh=True) as newcomer:
                tasks = await streams.open(client, 1)
                hub.process.send_signal(signal.SIGTERM)

                async def refused() -> bool:
                    try:
                        return (await newcomer.get("/readyz")).status_code == 503
                    except httpx2.HTTPError:
                        return True

                await until(refused, 5)
                await asyncio.gather(*tasks)
            assert len(streams.whole) == 1
            assert await asyncio.wait_for(hub.process.wait(), 30) == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_interrupt_ends_everything_at_once(tmp_path: Path, workers: int) -> None:
    home, streams = tmp_path / "home", Streams()
    async with FakeUpstream(Behavior(chunks=10_000, chunk_interval=0.05)) as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, workers=workers, drain_seconds=60.0) as hub, hub.client(filled.key) as client:
            tasks = await streams.open(client, 2)
            children = hub.children()
            hub.process.send_signal(signal.SIGINT)
            await until(lambda: "stopping" in hub.log())
            began = time.monotonic()
            assert await hub.end(signal.SIGINT) == 130
            assert time.monotonic() - began < 5
            await until(lambda: not any(map(alive, children)), 10)
            await asyncio.gather(*tasks)


async def test_a_worker_that_is_told_to_end_drains_and_is_replaced(tmp_path: Path) -> None:
    home, streams = tmp_path / "home", Streams()
    async with FakeUpstream(HALF_WAY) as upstream:
        filled = await fill(home, upstream)
        async with hub_process(home, workers=2, drain_seconds=20.0) as hub, hub.client(filled.key) as client:
            tasks = await streams.open(client, 12)
            before = hub.workers
            for pid in before:
                os.kill(pid, signal.SIGTERM)
            await asyncio.gather(*tasks)
            assert (len(streams.whole), streams.broken) == (12, 0)
            await until(lambda: len(hub.workers) == 2 and not set(before) & set(hub.workers))

            async def serves() -> bool:
                try:
                    async with hub.client(filled.key, fresh=True) as fresh:
                        return (await fresh.get("/v1/models")).status_code == 200
                except httpx2.HTTPError:
                    return False

            await until(serves)


async def test_a_hub_of_workers_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    flags = {"home": str(home), "port": 0, "workers": 2, "database_url": "postgresql://byom@127.0.0.1:1/byom"}
    process, url = await launch(flags)
    assert (await asyncio.wait_for(process.wait(), 30), url) == (1, "")
    log = (home / "hub.log").read_text()
    assert "Traceback" not in log, log
    assert "database" in log
    assert list((home / "run").glob("*")) == []
