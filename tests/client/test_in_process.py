"""The library with no hub running: one is started inside the process, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from byom.client import AsyncClient, Client
from byom.errors import ModelNotFound
from byom.testing import Behavior, FakeUpstream
from tests.server.processes import alive

_HEAVY = ("httpx2", "fastapi", "pydantic", "sqlalchemy", "cryptography", "typer", "rich", "uvicorn", "genai_prices")


def run(code: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, as a user writes it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BYOM_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=clean | {"BYOM_HOME": str(home)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_three_lines_are_enough_and_leave_no_process_behind(tmp_path: Path) -> None:
    code = (
        "import byom, os, subprocess\n"
        "print(byom.chat('extractive', 'Ice closed the bridge. The bridge opened at noon.'))\n"
        "print(len(byom.embed('lexical', ['a', 'b'])))\n"
        "print(''.join(p.text for p in byom.chat('extractive', 'One sentence here.', stream=True)))\n"
        "out = subprocess.run(['ps', '--ppid', str(os.getpid()), '-o', 'pid=,args='], capture_output=True, text=True)\n"
        "print([line.split()[0] for line in out.stdout.splitlines() if 'byom' in line])\n"
    )
    done = run(code, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer, count, streamed, children = done.stdout.splitlines()
    assert "bridge" in answer
    assert count == "2"
    assert streamed
    pids = [int(pid) for pid in children.strip("[]").replace("'", "").split(", ") if pid]
    assert len(pids) == 1
    deadline = time.monotonic() + 20
    while alive(pids[0]) and time.monotonic() < deadline:
        os.sched_yield()
    assert not alive(pids[0])


def test_calls_in_process_are_in_the_ledger_of_the_home(tmp_path: Path) -> None:
    first = run("import byom; print(byom.chat('extractive', 'One sentence.').request_id)", tmp_path / "home")
    assert first.returncode == 0, first.stderr
    with Client(home=tmp_path / "home") as client:
        assert [row["id"] for row in client.calls()["data"]] == [first.stdout.strip()]


def test_importing_byom_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        # The program's own time: a machine that is busy with others is no slower an import.
        "import sys, time; began = time.process_time(); import byom; took = time.process_time() - began\n"
        f"print(took, [name for name in {_HEAVY!r} if name in sys.modules])\n"
    )
    done = [run(code, tmp_path) for _ in range(3)]
    took = min(float(one.stdout.split()[0]) for one in done)
    assert done[0].stdout.split(" ", 1)[1].strip() == "[]"
    assert took <= 0.150
    assert not list(tmp_path.iterdir())


def test_the_public_names_are_the_same_classes(tmp_path: Path) -> None:
    code = (
        "import byom, byom.client\n"
        "assert byom.Client is byom.client.Client and byom.AsyncClient is byom.client.AsyncClient\n"
        "assert {'chat', 'embed', 'connect', 'Client', 'AsyncClient'} <= set(dir(byom))\n"
        "try: byom.nonsense\n"
        "except AttributeError as error: print(error)\n"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nonsense" in done.stdout


async def test_a_hub_in_process_streams_and_stops_like_any_other(tmp_path: Path) -> None:
    behavior = Behavior(chunks=10_000, chunk_interval=0.02)
    async with FakeUpstream(behavior) as upstream, AsyncClient(home=tmp_path / "home") as client:
        assert client.place.in_process
        await client.connect("box", upstream.base_url, model="fake-model")
        stream = await client.chat("fake-model", "Go on", stream=True)
        async for piece in stream:
            if piece.text:
                break
        await stream.aclose()
        assert (await upstream.wait_for_disconnect(5.0)).chunks_sent < 1000
        with pytest.raises(ModelNotFound):
            await client.chat("nope", "Hi")


async def test_clients_of_one_loop_share_the_hub_in_process(tmp_path: Path) -> None:
    async with AsyncClient(home=tmp_path / "home") as first:
        assert await first.model_names()
        async with AsyncClient(home=tmp_path / "home") as second:
            await second.users.create("ann")
        assert "ann" in [user["name"] for user in await first.users.list()]


def test_another_hub_named_by_the_variables_is_used_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from byom.client import default_client

    monkeypatch.delenv("BYOM_URL", raising=False)
    monkeypatch.delenv("BYOM_API_KEY", raising=False)
    monkeypatch.setenv("BYOM_HOME", str(tmp_path / "one"))
    first = default_client()
    assert first is default_client()
    monkeypatch.setenv("BYOM_HOME", str(tmp_path / "two"))
    second = default_client()
    assert second is not first
    second.close()
