"""Hubs as people run them: what was launched comes back, and nothing outlives its hub."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.launching.specs import gguf_spec
from tests.server.processes import HubProcess, alive, children_of, command_of, hub_process, until

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}


async def _launch(client: httpx2.AsyncClient, folder: Path, **fields: Any) -> dict[str, Any]:
    registered = await client.post("/api/specs", json={"spec": gguf_spec(folder)})
    assert registered.status_code in (201, 409), registered.text
    launched = await client.post("/api/launches", json={"model_name": "tiny", **fields})
    assert launched.status_code == 201, launched.text
    found: dict[str, Any] = launched.json()
    return found


def _below(pid: int) -> list[int]:
    return [pid for child in children_of(pid) for pid in (child, *_below(child))]


def _engines(hub: HubProcess) -> list[int]:
    return [pid for pid in _below(hub.process.pid) if "llamacpp_server" in command_of(pid)]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_killed_hub_leaves_no_engine_and_what_ran_runs_again_after_its_start(
    tmp_path: Path, workers: int
) -> None:
    """Must show: hub killed with -9"""
    home = tmp_path / "home"
    async with hub_process(home, workers=workers) as hub, hub.client(timeout=120.0) as client:
        await _launch(client, tmp_path / "weights", replicas=2)
        assert len(_engines(hub)) == 2
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=ASK) for _ in range(8)))
        assert {one.status_code for one in answers} == {200}
        below = _below(hub.process.pid)
        await hub.end(signal.SIGKILL)
        await until(lambda: not any(map(alive, below)), 10)
    async with hub_process(home, workers=workers) as hub, hub.client(timeout=120.0) as client:

        async def ready() -> bool:
            found = (await client.get("/api/launches")).json()["data"]
            return bool(found) and found[0]["state"] == "ready" and len(found[0]["replicas"]) == 2

        await until(ready, 60)
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
        engines = _engines(hub)
        assert await hub.end() == 0
        assert not any(map(alive, engines))


async def test_with_several_workers_every_one_launches_tells_and_stops(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home", workers=2) as hub, hub.client(timeout=120.0, fresh=True) as client:
        launched = await _launch(client, tmp_path / "weights", idle_unload_seconds=1.0)
        assert launched["state"] == "ready"
        for _ in range(6):
            assert (await client.get("/api/launches/tiny")).json()["uid"] == "tiny"
            assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200

        async def unloaded() -> bool:
            return (await client.get("/api/launches/tiny")).json()["state"] == "unloaded"

        await until(unloaded, 20)
        assert _engines(hub) == []
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
        refused = await client.post("/api/launches", json={"model_name": "tiny", "uid": "tiny"})
        assert refused.status_code == 409
        assert (await client.post("/api/launches", json={"model_name": "nothing"})).status_code == 404
        (engine,) = _engines(hub)
        os.kill(engine, signal.SIGKILL)
        await until(lambda: not alive(engine))
        await asyncio.sleep(0.05)
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
        assert (await client.delete("/api/launches/tiny")).status_code == 204
        assert _engines(hub) == []
        assert (await client.get("/api/launches")).json()["data"] == []


async def test_a_model_that_was_unloaded_stays_so_over_a_restart_until_it_is_called(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub, hub.client(timeout=120.0) as client:
        await _launch(client, tmp_path / "weights")
        assert (await client.post("/api/launches/tiny/unload")).json()["state"] == "unloaded"
        await until(lambda: (home / "engines" / "unloaded.json").exists())
        await hub.end()
    async with hub_process(home) as hub, hub.client(timeout=120.0) as client:
        assert (await client.get("/api/launches/tiny")).json()["state"] == "unloaded"
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200


async def test_a_registration_that_is_not_to_last_is_gone_after_a_restart_and_its_model_is_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with hub_process(home) as hub, hub.client(timeout=120.0) as client:
        spec = gguf_spec(tmp_path / "weights")
        assert (await client.post("/api/specs", json={"spec": spec, "persist": False})).status_code == 201
        assert (await client.post("/api/launches", json={"model_name": "tiny"})).status_code == 201
        await hub.end()
    async with hub_process(home) as hub, hub.client(timeout=120.0) as client:
        assert (await client.get("/api/specs/LLM/tiny")).status_code == 404
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
