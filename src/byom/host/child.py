"""Runs a host as a child process: starts it, knows when it listens, restarts it when it dies, leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from byom.errors import Unavailable
from byom.host.output_tail import OutputTail

_log = logging.getLogger("byom.host.child")
_PASSED_ON = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV", "SYSTEMROOT")
_PASSED_ON_PREFIXES = ("LC_", "PYTHON")


class HostStartError(Unavailable):
    """A host process ended or stayed silent before it listened; the message has the end of its output."""

    code = "host_start_failed"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between restarts: doubling from ``first`` up to ``longest``, from the start again after a run
    of ``healthy_after`` seconds."""

    first: float = 0.2
    longest: float = 30.0
    healthy_after: float = 30.0

    def delay(self, failures: int) -> float:
        """The wait before the restart that follows so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 32))


class ChildHost:
    """One host process, ``python -m module``, that serves OpenAI's wire format on loopback.

    The child gets a new random token on its standard input, and an environment without this process's secrets.
    It ends when this process does, even by ``kill -9``: it follows its standard input.

    Args:
        module: what to run, such as ``byom.host.builtin``.
        args: further arguments for it.
        env: variables for the child beside the few that are passed on.
        start_timeout: seconds until it must listen.
        on_ready: called with this object each time a process listens; the base URL may have changed.
        on_ended: called with this object each time a process that listened has ended; `ended_with` says how.
        on_output: gets what the process writes to its standard error, as it comes and without the token.
        configuration: asked for one line of JSON each time a process starts, which the process reads after the token
            (``--configuration-stdin``).
    """

    def __init__(
        self,
        module: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        start_timeout: float = 20.0,
        backoff: Backoff | None = None,
        on_ready: Callable[[ChildHost], None] | None = None,
        on_ended: Callable[[ChildHost], None] | None = None,
        on_output: Callable[[bytes], None] | None = None,
        configuration: Callable[[], bytes] | None = None,
    ) -> None:
        self.module = module
        self.token = secrets.token_urlsafe(32)
        self.restarts = 0
        self._args = tuple(args)
        self._env = dict(env or {})
        self._start_timeout = start_timeout
        self._backoff = backoff or Backoff()
        self._on_ready = on_ready
        self._on_ended = on_ended
        self._on_output = on_output
        self._configuration = configuration
        self.ended_with: int | None = None
        """The exit code of the last process, negative for a signal."""
        self._port = 0
        self._listening = asyncio.Event()
        self._tail = OutputTail(self.token)
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._supervisor: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"ChildHost({self.module!r}, pid={self.pid}, port={self._port})"

    # --- what is known

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as ``base_url``. Raises `Unavailable` while no process listens."""
        if not self.running:
            raise Unavailable(f"The host {self.module} is not running.", retry_after=1.0)
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def running(self) -> bool:
        """Whether a process listens."""
        return self._listening.is_set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def stderr_tail(self) -> str:
        """The end of what the process (and those before it) wrote, without the token."""
        return self._tail.text()

    async def wait_until_running(self, timeout: float) -> None:
        """Returns when a process listens. Raises TimeoutError."""
        await asyncio.wait_for(self._listening.wait(), timeout)

    # --- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when the process listens; from then on it is restarted whenever it ends. Raises `HostStartError`."""
        if self._supervisor is not None:
            return
        await self._launch()
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self, grace: float = 5.0) -> None:
        """Ends the process: asks it to, and after ``grace`` seconds makes it. Nothing of it is left."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        await self._end(grace)

    async def _launch(self) -> None:
        """Starts one process and waits until it listens; where it does not, nothing of it is left."""
        try:
            await asyncio.wait_for(self._spawn_until_ready(), self._start_timeout)
        except TimeoutError:
            await self._end(0.0)
            raise HostStartError(self._story(f"did not listen within {self._start_timeout:g} s")) from None
        except BaseException:
            await self._end(0.0)
            raise
        self._listening.set()
        if self._on_ready is not None:
            self._on_ready(self)

    async def _spawn_until_ready(self) -> None:
        # The port of the process before, so that callers who kept the address find the new one there.
        command = [sys.executable, "-m", self.module, "--port", str(self._port), "--token-stdin", *self._args]
        if self._configuration is not None:
            command.append("--configuration-stdin")
        process = self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,  # a Ctrl-C at the terminal is for this process, which then ends the child
        )
        ready = asyncio.get_running_loop().create_future()
        self._readers = [
            asyncio.ensure_future(self._read(process.stderr, None)),
            asyncio.ensure_future(self._read(process.stdout, ready)),
        ]
        if process.stdin is not None:
            process.stdin.write(self.token.encode() + b"\n")
            if self._configuration is not None:
                process.stdin.write(self._configuration().replace(b"\n", b" ") + b"\n")
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if not ready.done():
            await asyncio.gather(*self._readers)
            self._port = 0  # perhaps somebody else has taken it meanwhile
            raise HostStartError(self._story(f"ended with code {process.returncode} before it listened"))
        self._port = ready.result()

    async def _read(self, stream: asyncio.StreamReader | None, ready: asyncio.Future[int] | None) -> None:
        if stream is None:
            return
        tail = OutputTail(self.token) if ready is not None else self._tail
        while data := await stream.read(65536):
            lines = tail.feed(data)
            if ready is None and lines and self._on_output is not None:
                self._on_output("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
            for line in lines:
                if ready is not None and not ready.done() and (port := _announced(line)) is not None:
                    ready.set_result(port)

    async def _supervise(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            if self._process is not None:
                await self._process.wait()
            failures = 1 if time.monotonic() - started >= self._backoff.healthy_after else failures + 1
            self._listening.clear()
            code = self.ended_with = self._process.returncode if self._process is not None else None
            _log.warning("host %s ended with code %s; it is restarted", self.module, code)
            await self._end(0.0)
            if self._on_ended is not None:
                self._on_ended(self)
            await asyncio.sleep(self._backoff.delay(failures))
            self.restarts += 1
            try:
                await self._launch()
            except (HostStartError, OSError) as error:
                _log.warning("host %s: %s", self.module, error)

    async def _end(self, grace: float) -> None:
        self._listening.clear()
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None and grace > 0:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
        # The group, not the process alone: user code may have started processes of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
        if self._readers:
            # A process that left the group may hold the pipes open: what it writes is not waited for.
            await asyncio.wait(self._readers, timeout=1.0)
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)
        self._readers = []

    def _environment(self) -> dict[str, str]:
        passed = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
        }
        return {**passed, **self._env}

    def _story(self, what: str) -> str:
        tail = self.stderr_tail.strip()
        return f"The host {self.module} {what}." + (f" Its last output:\n{tail}" if tail else "")


def _announced(line: str) -> int | None:
    """The port, where the line is the one that says it."""
    if not line.startswith("{"):
        return None
    try:
        port = json.loads(line).get("port")
    except (ValueError, AttributeError):
        return None
    return port if isinstance(port, int) else None
