"""The channel between a hub's processes, the sums of what they measure, and the folder where they meet."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import uvloop

from byom.errors import ConfigError
from byom.gateway.figures import Figures
from byom.ledger.ledger import Gauges
from byom.server import metrics
from byom.server.control import AskFailed, Channel, Handler, decode, encode
from byom.server.home import LONGEST_SOCKET_PATH, socket_folder
from byom.server.measures import Measures, merge, together
from byom.settings import Settings


async def pair(handlers: Mapping[str, Handler]) -> tuple[Channel, Channel, asyncio.Event]:
    """One that asks, one that answers, and whether the first has noticed the other's end."""
    one, other = socket.socketpair()
    gone = asyncio.Event()
    return await Channel.over(one, {}, gone.set), await Channel.over(other, handlers, lambda: None), gone


async def double(body: bytes) -> int:
    return 2 * int(decode(body, int))


async def never(body: bytes) -> None:
    await asyncio.Event().wait()


async def wrong(body: bytes) -> None:
    raise ConfigError("that is not allowed")


async def faulty(body: bytes) -> None:
    raise KeyError("canary")


async def test_many_questions_at_once_get_their_own_answers() -> None:
    asker, answerer, _ = await pair({"double": double})
    answers = await asyncio.gather(*(asker.ask_for(int, "double", n) for n in range(100)))
    assert answers == [2 * n for n in range(100)]
    asker.close()
    answerer.close()


async def test_a_refusal_and_a_fault_are_told_apart() -> None:
    asker, answerer, _ = await pair({"wrong": wrong, "faulty": faulty})
    with pytest.raises(AskFailed, match="not allowed") as refused:
        await asker.ask("wrong")
    assert refused.value.code == "invalid_config"
    with pytest.raises(AskFailed, match="KeyError in faulty") as fault:
        await asker.ask("faulty")
    assert (fault.value.code, "canary" in str(fault.value)) == ("", False)
    asker.close()
    answerer.close()


async def test_the_end_of_the_other_side_ends_every_question() -> None:
    asker, answerer, gone = await pair({"never": never})
    asking = asyncio.ensure_future(asker.ask("never"))
    await asyncio.sleep(0)
    answerer.close()
    with pytest.raises(ConnectionResetError):
        await asking
    await gone.wait()
    with pytest.raises(ConnectionResetError):
        await asker.ask("never")


def test_the_channel_works_on_the_event_loop_that_hubs_run_on() -> None:
    async def ask() -> int:
        asker, answerer, _ = await pair({"double": double})
        found: int = await asker.ask_for(int, "double", 21)
        asker.close()
        answerer.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == 42


def test_settings_travel_whole(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, secret_key="a-secret", trusted_hosts=("a", "b"), ssl_certfile=tmp_path / "x")
    assert decode(encode(settings), Settings) == settings


def measured(worker: int, calls: int, **more: object) -> Measures:
    figures = Figures()
    model = figures.of("m")
    model.states["ok", 200] = calls
    model.cost = calls * 10**12
    for _ in range(calls):
        model.latency.observe(0.02)
    gauges = [("byom_calls_in_flight", "Calls under way.", float(worker)), ("byom_uptime_seconds", "Up.", 7.0)]
    return Measures(figures, gauges, {"c": "closed"}, worker, 1000, **more)  # type: ignore[arg-type]


def test_measures_of_processes_add_up() -> None:
    """gateway checklist 91"""
    parts = [measured(0, 3), measured(1, 4), Measures(measured(9, 5).figures), Measures(Figures(), memory=500)]
    parts[1].circuits["c"] = "open"
    text = metrics.text([decode(encode(part), Measures) for part in parts]).decode()
    for line in (
        'byom_calls_total{model="m",state="ok",status="200"} 12.0',
        'byom_cost_dollars_total{model="m"} 12.0',
        'byom_latency_seconds_bucket{le="0.025",model="m"} 12.0',
        'byom_circuit_open{connection="c"} 1.0',
        "byom_calls_in_flight 1.0",
        "byom_uptime_seconds 7.0",
        "byom_workers 2.0",
        "byom_resident_memory_bytes 2500.0",
        'byom_worker_resident_memory_bytes{worker="1"} 1000.0',
    ):
        assert line in text.splitlines(), text
    # Adding up changes none of the parts.
    assert merge(parts).figures == merge(parts).figures
    assert parts[0].figures.of("m").states == {("ok", 200): 3}


def test_ledgers_together_take_rows_when_each_does() -> None:
    one = Gauges(spooled=3, written=1, recovered=0, rejected=0, spool_bytes=10, accepting=True, failure=None)
    other = Gauges(spooled=4, written=4, recovered=2, rejected=1, spool_bytes=5, accepting=False, failure="full")
    found = together([one, other])
    assert (found.spooled, found.written, found.lag, found.spool_bytes) == (7, 5, 2, 15)
    assert (found.accepting, found.failure) == (False, "full")


def test_sockets_have_a_place_however_deep_the_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_folder(tmp_path) == tmp_path / "run"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    folder = socket_folder(deep)
    assert folder == socket_folder(deep) != socket_folder(tmp_path / ("y" * LONGEST_SOCKET_PATH))
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="0700"):
        socket_folder(deep)
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    os.symlink(tmp_path / "elsewhere", folder)
    with pytest.raises(ConfigError, match="belongs to you"):
        socket_folder(deep)
