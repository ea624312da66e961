"""A worker process and its keeper: started, read, ended, with nothing left of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from byom.host.code.link import Link
from byom.host.code.log_book import LineSplitter, LogBook
from byom.host.worker import tree

START = Path(__file__).parents[1] / "worker" / "start.py"
_KEPT_BACK = ("KEY", "TOKEN", "SECRET", "PASSWORD")


class WorkerProcess:
    """One worker. ``ended`` is set when its process and all that it started are gone."""

    def __init__(self, name: str, log: LogBook) -> None:
        self.name = name
        self.ended = asyncio.Event()
        self.pid: int | None = None
        self._log = log
        self._life: socket.socket | None = None
        self._keeper: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._said: dict[str, int] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def start(self, python: str, link: Callable[[], Link], env: Mapping[str, str]) -> Link:
        """Starts it, and gives the connection to it. Raises OSError."""
        ours, theirs = socket.socketpair()
        life, keepers_life = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-B", str(START), "keeper", str(theirs.fileno())]
        worker = [python, str(START), "runner", str(theirs.fileno())]
        try:
            with theirs, keepers_life:
                self._keeper = await asyncio.create_subprocess_exec(
                    *command,
                    *worker,
                    stdin=keepers_life.fileno(),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    env=dict(env),
                    start_new_session=True,  # it outlives a kill of the front's group, to clean up
                )
        except BaseException:
            ours.close()
            life.close()
            raise
        life.setblocking(False)  # noqa: FBT003
        self._life = life
        loop = asyncio.get_running_loop()
        self._readers = [
            loop.create_task(self._read(self._keeper.stdout)),
            loop.create_task(self._read(self._keeper.stderr)),
            loop.create_task(self._listen(life)),
        ]
        self._watcher = loop.create_task(self._watch(self._keeper))
        _, connected = await loop.create_unix_connection(link, sock=ours)
        return connected

    def kill(self) -> None:
        """Ends the worker and all that it started; `ended` tells when that is done."""
        if self._life is None:
            self.ended.set()  # it was never started, or its start was given up, and its keeper ends by itself
            return
        with contextlib.suppress(OSError):
            self._life.shutdown(socket.SHUT_WR)

    @property
    def keeper(self) -> int | None:
        """The process above the worker, as long as there is anything of it."""
        return None if self._keeper is None or self.ended.is_set() else self._keeper.pid

    def story(self) -> str:
        """How the process ended, for people."""
        if "signal" in self._said:
            number = self._said["signal"]
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = str(number)
            hint = ", perhaps for want of memory" if number == signal.SIGKILL else ""
            return f"signal {name}{hint}"
        if "exit" in self._said:
            return f"exit code {self._said['exit']}"
        return "it was ended from outside"

    async def _watch(self, keeper: asyncio.subprocess.Process) -> None:
        await keeper.wait()
        if self._readers:
            # Output is read to its end, unless something that got away holds the pipes open.
            await asyncio.wait(self._readers, timeout=1.0)
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)
        if self._life is not None:
            self._life.close()
        self.ended.set()

    async def _listen(self, life: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        splitter = LineSplitter()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(life, 4096):
                for line in splitter.feed(data):
                    self._said.update(json.loads(line))
                self.pid = self._said.get("pid")

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        if stream is None:
            return
        splitter = LineSplitter()
        while data := await stream.read(65536):
            if self._log.allow(len(data)):
                for line in splitter.feed(data):
                    self._log.write(self.name, line)
        for line in splitter.end():
            self._log.write(self.name, line)


def environment(python: str | None, added: object) -> dict[str, str]:
    """The variables of a worker: those of this process without BYOM's own secrets, and what was added."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("BYOM_") and any(word in name for word in _KEPT_BACK))
    }
    if python is not None and python != sys.executable:
        for name in ("PYTHONHOME", "VIRTUAL_ENV"):
            env.pop(name, None)
    if isinstance(added, Mapping):
        env.update({str(name): str(value) for name, value in added.items()})
    return env


def end_strays(keepers: set[int]) -> None:
    """Kills what has come to this process as an orphan, because user code killed its keeper."""
    if not tree.available():
        return
    family = tree.children()
    waiting = [pid for pid in family.get(os.getpid(), ()) if pid not in keepers]
    while waiting:
        pid = waiting.pop()
        waiting.extend(family.get(pid, ()))
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
