"""Many launches in a row, and room for one more."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import httpx2
import msgspec
import pytest

from byom.runtime.hardware import detect_hardware
from byom.server.hub import Hub
from byom.server.launching import local_runtime
from byom.server.launching.launching import LaunchFailed
from byom.server.launching.request import LaunchRequest
from byom.server.measures import resident_bytes
from tests.server.launching.specs import gguf_spec
from tests.server.processes import children_of

ROUNDS = 20
ALLOWED_MIB = 8.0


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_launches_and_stops_in_a_row_leave_no_process_port_file_or_memory(
    hub: Hub, admin: httpx2.AsyncClient, tiny: str
) -> None:
    """Must show: launches and stops in a row (a hundred of them: bench/launch)"""
    home = hub.settings.home
    ask = {"model": tiny, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}

    async def once() -> None:
        await hub.launching.launch(LaunchRequest(model_name=tiny))
        assert (await admin.post("/v1/chat/completions", json=ask)).status_code == 200
        await hub.launching.terminate(tiny)

    for _ in range(3):
        await once()
    gc.collect()
    await asyncio.sleep(0.2)
    files, children, memory = _open_files(), len(children_of(os.getpid())), resident_bytes()
    on_disk = sorted(str(path) for path in home.rglob("*") if "spool" not in str(path))
    folders = [name for name in os.listdir("/tmp") if name.startswith("byom-engine-")]
    for _ in range(ROUNDS):
        await once()
    gc.collect()
    await asyncio.sleep(0.2)
    assert len(children_of(os.getpid())) == children
    assert _open_files() <= files + 4
    assert (resident_bytes() - memory) / 2**20 < ALLOWED_MIB
    assert sorted(str(path) for path in home.rglob("*") if "spool" not in str(path)) == on_disk
    assert [name for name in os.listdir("/tmp") if name.startswith("byom-engine-")] == folders


async def test_a_model_that_was_not_used_for_longest_leaves_for_one_that_is_asked_to_have_room(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with room for two: what the hub is told of its memory is what is left by those that run."""
    for name in ("one", "two", "three", "pinned"):
        await hub.launching.register(gguf_spec(tmp_path / "weights", name), persist=False)
    each = 200 * 2**20

    def two_fit() -> object:
        running = [one for one in hub.weights._launches.values() if one.serving]  # type: ignore[attr-defined]
        return msgspec.structs.replace(detect_hardware(), memory_available=int(2.5 * each) - len(running) * each)

    monkeypatch.setattr(local_runtime, "detect_hardware", two_fit)
    await hub.launching.launch(LaunchRequest(model_name="one"))
    await asyncio.sleep(0.05)
    await hub.launching.launch(LaunchRequest(model_name="two", pinned=True))
    with pytest.raises(LaunchFailed, match="--evict"):
        await hub.launching.launch(LaunchRequest(model_name="three"))
    await hub.launching.launch(LaunchRequest(model_name="three", evict=True))
    states = {one.uid: one.state for one in await hub.launching.running()}
    assert states == {"one": "unloaded", "two": "ready", "three": "ready"}
    await hub.launching.terminate("three")
    await hub.launching.launch(LaunchRequest(model_name="pinned", pinned=True))
    with pytest.raises(LaunchFailed, match="Nothing that is loaded may leave"):
        await hub.launching.launch(LaunchRequest(model_name="three", evict=True))
