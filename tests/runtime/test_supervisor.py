"""A replica that is kept running."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from byom.errors import Unavailable
from byom.runtime.process import EngineProcess, EngineStartError
from byom.runtime.supervisor import EngineSupervisor, Restarts
from tests.runtime.fake_engine import FakeEngine, fake_launch
from tests.runtime.processes import children


class Watched:
    """A supervisor whose states can be waited for."""

    def __init__(self, modes: list[str], restarts: Restarts) -> None:
        self.states: list[str] = []
        self.changed = asyncio.Event()
        self.modes = modes
        self.supervisor = EngineSupervisor(self.make, restarts=restarts, on_change=self.note)

    def make(self) -> EngineProcess:
        mode = self.modes.pop(0) if len(self.modes) > 1 else self.modes[0]
        return EngineProcess(FakeEngine(mode), fake_launch())

    def note(self, one: EngineSupervisor) -> None:
        self.states.append(one.state)
        self.changed.set()

    async def until(self, state: str, times: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.states.count(state) < times:
                self.changed.clear()
                await self.changed.wait()

    def kill(self) -> None:
        process = self.supervisor.process
        assert process is not None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)


async def test_an_engine_that_dies_is_started_again() -> None:
    before = children()
    watched = Watched(["good"], Restarts(first=0.01))
    await watched.supervisor.start()
    watched.kill()
    await watched.until("ready", 2)
    assert watched.supervisor.restarts == 1
    assert (await watched.supervisor.wait_until_ready(5)).base_url
    await watched.supervisor.stop()
    assert children() == before


async def test_after_so_many_failures_it_stays_down_and_says_why() -> None:
    watched = Watched(["good", "crash"], Restarts(first=0.01, most=2))
    await watched.supervisor.start()
    watched.kill()
    await watched.until("failed")
    assert watched.supervisor.restarts == 2
    assert "the weights are of clay" in (watched.supervisor.error or "")
    with pytest.raises(Unavailable, match="of clay"):
        await watched.supervisor.wait_until_ready(5)
    watched.modes = ["good"]
    await watched.supervisor.start()
    assert watched.supervisor.ready
    await watched.supervisor.stop()


async def test_a_first_start_that_fails_is_not_tried_again() -> None:
    watched = Watched(["crash"], Restarts(first=0.01))
    with pytest.raises(EngineStartError, match="of clay"):
        await watched.supervisor.start()
    assert watched.states == ["starting", "failed"]


async def test_it_can_be_stopped_while_it_waits_to_start_again() -> None:
    before = children()
    watched = Watched(["good"], Restarts(first=60.0))
    await watched.supervisor.start()
    watched.kill()
    await watched.until("restarting")
    await watched.supervisor.stop()
    assert watched.supervisor.state == "stopped"
    assert children() == before


async def test_it_can_be_stopped_while_it_starts() -> None:
    before = children()
    watched = Watched(["silent"], Restarts())
    starting = asyncio.ensure_future(watched.supervisor.start())
    await watched.until("starting")
    await asyncio.sleep(0)
    await watched.supervisor.stop()
    with pytest.raises(EngineStartError, match="was stopped"):
        await starting
    assert watched.supervisor.state == "stopped"
    assert children() == before


def test_pauses_double_up_to_the_longest() -> None:
    restarts = Restarts(first=0.5, longest=3.0)
    assert [restarts.pause(failures) for failures in (1, 2, 3, 4, 99)] == [0.5, 1.0, 2.0, 3.0, 3.0]
