"""Hubs as people run them: real processes, started with `byom.server.serve.serve`, watched from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import select

from byom.catalog.catalog import Catalog
from byom.catalog.forms import ModelForm
from byom.ledger.ledger import Ledger
from byom.ledger.table import calls, usage_hourly
from byom.settings import load_settings
from byom.testing import FakeUpstream

PROGRAM = """
import json, sys
from byom.errors import ByomError
from byom.server.serve import serve
from byom.settings import load_settings
try:
    serve(load_settings(json.loads(sys.argv[1]), environ={}), on_ready=lambda url: print(url, flush=True))
except ByomError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""
STARTED_WITHIN = 60.0
ENDED_WITHIN = 60.0
ASK = {"messages": [{"role": "user", "content": "Say something."}]}


class HubProcess:
    """``url`` is the hub's, without ``/v1``."""

    def __init__(self, process: asyncio.subprocess.Process, flags: dict[str, Any], url: str) -> None:
        self.process = process
        self.flags = flags
        self.url = url
        self.home = Path(flags["home"])

    @property
    def admin_key(self) -> str:
        return (self.home / "admin.key").read_text().strip()

    def client(self, key: str | None = None, *, fresh: bool = False, **options: Any) -> httpx2.AsyncClient:
        """``fresh``: a new connection for each request, so that the system chooses a worker for each."""
        limits = httpx2.Limits(max_keepalive_connections=0 if fresh else 200, max_connections=None)
        headers = {"authorization": f"Bearer {key or self.admin_key}"}
        options = {"timeout": 30.0, "trust_env": False, "limits": limits, "headers": headers} | options
        return httpx2.AsyncClient(base_url=self.url, **options)

    def children(self, module: str = "") -> list[int]:
        """Pids of the processes that this hub started, of one module or all."""
        return [pid for pid in children_of(self.process.pid) if module in command_of(pid)]

    @property
    def workers(self) -> list[int]:
        return self.children("byom.server.worker")

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), ENDED_WITHIN)

    def log(self) -> str:
        return (self.home / "hub.log").read_text()


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Runs, and has not merely been left for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Any, seconds: float = 30.0, what: str = "") -> None:
    """Returns when ``condition()`` (or what it awaits) is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


async def launch(flags: dict[str, Any]) -> tuple[asyncio.subprocess.Process, str]:
    """A hub's process, and its URL; an empty one where it ended instead."""
    log = (Path(flags["home"]) / "hub.log").open("ab")
    with log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, json.dumps(flags),
            stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), STARTED_WITHIN)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process, line.decode().strip()


@contextlib.asynccontextmanager
async def hub_process(home: Path, **settings: Any) -> AsyncIterator[HubProcess]:
    """A hub that serves. In the end it is gone with every process that it started, whatever the test did to it."""
    os.makedirs(home, exist_ok=True)
    flags = {"home": str(home), "port": 0, "drain_seconds": 1.0, "log_level": "info"} | settings
    process, url = await launch(flags)
    hub = HubProcess(process, flags, url)
    assert url, hub.log()
    known: set[int] = set()
    try:
        yield hub
        known |= set(hub.children())
    finally:
        if process.returncode is None:
            known |= set(hub.children())
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), ENDED_WITHIN)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        try:
            await until(lambda: not any(alive(pid) for pid in known), 10)
        finally:
            for pid in known:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)


class Filled:
    """What `fill` made."""

    def __init__(self, key: str, key_id: str) -> None:
        self.key = key
        self.key_id = key_id


async def fill(
    home: Path,
    upstream: FakeUpstream,
    *,
    database_url: str = "",
    models: dict[str, dict[str, Any]] | None = None,
    key: dict[str, Any] | None = None,
) -> Filled:
    """A catalog with a connection to ``upstream``, models with further fields by name, and a caller's key."""
    os.makedirs(home, exist_ok=True)
    settings = load_settings({"home": str(home), "database_url": database_url or None}, environ={})
    async with Catalog.session(settings) as catalog:
        await catalog.connections.create(
            {"name": "fake", "url": upstream.base_url, "retry": {"attempts": 1}, "circuit": {"failures": 100_000}},
            actor="test",
        )
        names = models or {"plain": {}}
        await catalog.models.create_many([ModelForm(name=name, connection="fake") for name in names], actor="test")
        for name, fields in names.items():
            if fields:
                await catalog.models.update(name, fields, actor="test")
        await catalog.users.create({"name": "caller"}, actor="test")
        created = await catalog.keys.create({"name": "test", "user": "caller", **(key or {})}, actor="test")
        return Filled(created.token, created.key.id)


async def rows_of(home: Path, database_url: str = "") -> list[tuple[str, str, str]]:
    """Id, state and model of every row of the ledger, those in spools of ended processes included."""
    settings = load_settings({"home": str(home), "database_url": database_url or None}, environ={})
    ledger = Ledger(settings.database, home / "spool")
    await ledger.start()
    try:
        await ledger.recover()
        async with ledger.engine.connect() as connection:
            found = await connection.execute(select(calls.c.id, calls.c.state, calls.c.model))
            return [(str(id_), str(state), str(model)) for id_, state, model in found]
    finally:
        await ledger.stop()


async def counted(home: Path) -> int:
    """Calls in the hourly sums of the ledger: a row that was written twice would be counted twice."""
    ledger = Ledger(load_settings({"home": str(home)}, environ={}).database, home / "spool")
    async with ledger.engine.connect() as connection:
        found = [int(calls_) for (calls_,) in await connection.execute(select(usage_hourly.c.calls))]
    await ledger.engine.dispose()
    return sum(found)
