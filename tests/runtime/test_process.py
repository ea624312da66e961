"""One process of an engine: stages, last words, ports, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from byom.errors import Unavailable
from byom.runtime.process import EngineProcess, EngineStartError, get_status
from tests.runtime.fake_engine import FakeEngine, fake_launch
from tests.runtime.processes import alive, children, gone, open_files


async def test_an_engine_passes_its_stages_and_serves() -> None:
    stages: list[str] = []
    engine = FakeEngine()
    process = EngineProcess(engine, fake_launch(), on_stage=lambda one: stages.append(one.stage))
    await process.start()
    assert stages == ["process", "loading", "ready"]
    assert await get_status(process.port, "/health", process.token) == 200
    assert process.ready_after is not None
    assert (process.memory() or 0) > 1_000_000
    pid = process.pid
    assert pid is not None
    await process.stop()
    assert stages[-1] == "ended"
    assert not alive(pid)
    assert not engine.folders[0].exists()
    with pytest.raises(Unavailable):
        _ = process.base_url


async def test_an_engine_that_fails_is_quoted() -> None:
    process = EngineProcess(FakeEngine("crash"), fake_launch())
    with pytest.raises(EngineStartError, match="ended with code 7 before it served for clay") as caught:
        await process.start()
    assert "RuntimeError: the weights are of clay" in caught.value.message
    assert process.stage == "ended"


async def test_an_engine_that_does_not_exist_is_named() -> None:
    engine = FakeEngine()
    engine.program = ""
    process = EngineProcess(engine, fake_launch())
    with pytest.raises(EngineStartError, match="ended with code 0"):
        await process.start()


async def test_the_token_is_not_in_the_last_words() -> None:
    seen: list[str] = []
    process = EngineProcess(FakeEngine("tells-token"), fake_launch(), on_output=seen.append)
    with pytest.raises(EngineStartError) as caught:
        await process.start()
    assert "the key is [token]" in "\n".join(seen)
    assert process.token not in caught.value.message + "".join(seen) + process.last_words.text()


async def test_a_silent_engine_is_ended_after_its_time() -> None:
    before = children()
    process = EngineProcess(FakeEngine("silent"), fake_launch(), start_timeout=0.3)
    with pytest.raises(EngineStartError, match=r"did not serve within 0.3 s"):
        await process.start()
    assert children() == before


async def test_a_port_that_is_taken_is_replaced_by_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        engine = FakeEngine(ports=[taken])
        process = EngineProcess(engine, fake_launch())
        await process.start()
        assert process.port != taken
        await process.stop()
    assert len(engine.folders) == 2
    assert not any(folder.exists() for folder in engine.folders)


async def test_a_port_that_is_taken_every_time_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        process = EngineProcess(FakeEngine(ports=[taken] * 3), fake_launch())
        with pytest.raises(EngineStartError, match="Address already in use"):
            await process.start()


async def test_it_can_be_stopped_while_it_loads() -> None:
    before = children()
    loading = asyncio.Event()
    engine = FakeEngine("silent")
    process = EngineProcess(engine, fake_launch(), on_stage=lambda one: one.stage == "loading" and loading.set())
    starting = asyncio.ensure_future(process.start())
    await asyncio.wait_for(loading.wait(), 10)
    await process.stop(grace=0.0)
    with pytest.raises(EngineStartError, match="was stopped while it loaded clay"):
        await starting
    assert children() == before
    assert not engine.folders[0].exists()


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    before = children()
    begun = asyncio.Event()
    process = EngineProcess(FakeEngine("silent"), fake_launch(), on_stage=lambda _: begun.set())
    starting = asyncio.ensure_future(process.start())
    await asyncio.wait_for(begun.wait(), 10)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert children() == before
    assert process.stage == "ended"


async def test_an_engine_that_ignores_the_request_to_end_is_made_to() -> None:
    process = EngineProcess(FakeEngine("stubborn"), fake_launch())
    await process.start()
    pid = process.pid
    assert pid is not None
    await process.stop(grace=0.2)
    assert not alive(pid)


async def test_processes_that_left_the_group_end_too() -> None:
    lines: list[str] = []
    process = EngineProcess(FakeEngine("family"), fake_launch(), on_output=lines.append)
    await process.start()
    child = int(next(line for line in lines if line.startswith("child")).split()[1])
    assert alive(child)
    await process.stop()
    await gone(child)


async def test_the_end_of_an_engine_is_noticed() -> None:
    process = EngineProcess(FakeEngine(), fake_launch())
    await process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert await asyncio.wait_for(process.wait(), 10) == -9
    assert process.stage == "ended"


HUB = """
import asyncio, sys
sys.path.insert(0, {root!r})
from byom.runtime.process import EngineProcess
from tests.runtime.fake_engine import FakeEngine, fake_launch
async def main():
    process = EngineProcess(FakeEngine("family"), fake_launch(), on_output=lambda line: print(line, flush=True))
    await process.start()
    print("leash", process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_no_engine_outlives_a_hub_that_is_killed() -> None:
    root = str(Path(__file__).parents[2])
    hub = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HUB.format(root=root), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert hub.stdout is not None
    pids: dict[str, int] = {}
    try:
        async with asyncio.timeout(20):
            while len(pids) < 2:
                words = (await hub.stdout.readline()).decode().split()
                assert words, "the hub ended"
                if words[0] in ("child", "leash"):
                    pids[words[0]] = int(words[1])
        hub.kill()
        await hub.wait()
        for pid in pids.values():
            await gone(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(hub.pid, signal.SIGKILL)
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_twenty_starts_and_stops_leave_no_process_and_no_file() -> None:
    before, files = children(), open_files()
    for _ in range(10):
        processes = [EngineProcess(FakeEngine(), fake_launch()) for _ in range(2)]
        await asyncio.gather(*(process.start() for process in processes))
        await asyncio.gather(*(process.stop() for process in processes))
    assert children() == before
    assert open_files() <= files
