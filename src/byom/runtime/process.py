"""One process of an engine, from its start to its end, with nothing of it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from byom.errors import Unavailable
from byom.runtime.engines.seam import Command, Engine, Launch, Slot
from byom.runtime.last_words import LastWords

_log = logging.getLogger("byom.runtime.process")
Stage = Literal["new", "process", "loading", "ready", "ended"]

_PASSED_ON = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
)
_PASSED_ON_PREFIXES = ("LC_", "PYTHON", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "GGML_", "ROCM_", "HIP_")
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONUNBUFFERED": "1",
}
_PORT_TAKEN = ("address already in use", "errno 98", "only one usage of each socket", "couldn't bind")
_ATTEMPTS = 3
_POLL = 0.05
_POLL_LONGEST = 0.5


class EngineStartError(Unavailable):
    """An engine ended, or stayed silent, before it served; the message has its last words."""

    code = "engine_start_failed"
    retryable = False


class EngineProcess:
    """Starts an engine for a launch and watches it. Used once: a restart is another object.

    Args:
        start_timeout: seconds until it must serve; loading is a part of it.
        on_stage: called with this object each time its stage changes.
        on_output: gets what the engine writes, line by line, without its token.
        env: variables for the engine beside the few that are passed on and its own.
    """

    def __init__(
        self,
        engine: Engine,
        launch: Launch,
        *,
        start_timeout: float = 600.0,
        on_stage: Callable[[EngineProcess], None] | None = None,
        on_output: Callable[[str], None] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self.launch = launch
        self.token = secrets.token_urlsafe(32)
        self.stage: Stage = "new"
        self.exit_code: int | None = None
        """Of the process that has ended, negative for a signal."""
        self.ready_after: float | None = None
        """Seconds from start to ready."""
        self.last_words = LastWords(self.token)
        self._start_timeout = start_timeout
        self._on_stage = on_stage
        self._on_output = on_output
        self._env = dict(env or {})
        self._command: Command | None = None
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._announced: asyncio.Future[int] | None = None
        self._folder: Path | None = None
        self._stopping = False
        self._ended = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"EngineProcess({self.engine.name!r}, {self.launch.name!r}, {self.stage}, pid={self.pid})"

    # --- what is known

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def port(self) -> int:
        """0 until it is known."""
        return self._port

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as ``base_url``. Raises `Unavailable` until the engine serves."""
        if self.stage != "ready":
            raise Unavailable(f"The engine of {self.launch.name} is not ready: {self.stage}.", retry_after=1.0)
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def served_model(self) -> str:
        """What requests must give as ``model``."""
        return self._command.served_model if self._command is not None else self.launch.name

    def memory(self) -> int | None:
        """Bytes that the process and what it started hold in memory; ``None`` where nobody knows."""
        from byom.runtime.process_tree import resident_bytes

        return None if self.pid is None else resident_bytes(self.pid)

    # --- life

    async def start(self) -> None:
        """Returns when it serves. Raises `EngineStartError`; then, and when cancelled, nothing of it is left."""
        if self.stage != "new":
            raise RuntimeError("a process is started once")
        begun = time.monotonic()
        starting = self._starting = asyncio.get_running_loop().create_task(self._start_with_a_free_port())
        try:
            done, _ = await asyncio.wait({starting}, timeout=self._start_timeout)
            if self._stopping:
                raise EngineStartError(f"{self.engine.title} was stopped while it loaded {self.launch.name}.")
            if not done:
                raise EngineStartError(self._story(f"did not serve within {self._start_timeout:g} s"))
            starting.result()
        except BaseException:
            await self._cancel_start()
            await self._end(0.0)
            raise
        self._starting = None
        self.ready_after = time.monotonic() - begun
        self._set(stage="ready")

    async def wait(self) -> int | None:
        """Returns, with the exit code, when the process has ended."""
        if self._process is not None:
            await self._process.wait()
            if not self._stopping:
                await self._end(0.0)
        await self._ended.wait()
        return self.exit_code

    async def stop(self, grace: float = 5.0) -> None:
        """Ends it, also while it loads: asks it to, and after ``grace`` seconds makes it."""
        self._stopping = True
        await self._cancel_start()
        await self._end(grace)

    async def _cancel_start(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            self._starting = None

    # --- start

    async def _start_with_a_free_port(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._start_once()
            except EngineStartError:
                text = self.last_words.text(40).lower()
                if attempt == _ATTEMPTS or self._stopping or not any(sign in text for sign in _PORT_TAKEN):
                    raise
                _log.info("port %s was taken before %s had it; another is tried", self._port, self.engine.name)
                await self._end_process(0.0)
                self.last_words = LastWords(self.token)
                self._remove_folder()
            else:
                return

    async def _start_once(self) -> None:
        folder = self._folder = Path(tempfile.mkdtemp(prefix="byom-engine-"))
        command = self.engine.command(self.launch, Slot(port=free_port(), token=self.token, folder=folder))
        self._command, self._port = command, command.port
        argv = command.argv
        if not command.own:
            argv = (sys.executable, "-I", str(Path(__file__).with_name("leash.py")), "--", *argv)
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(command),
                cwd=folder,
                start_new_session=True,  # a group of its own, which is ended as a whole
            )
        except OSError as error:
            what = f"{self.engine.title} cannot be started: {error.strerror} ({argv[0]})."
            raise EngineStartError(what) from error
        self._announced = asyncio.get_running_loop().create_future()
        self._readers = [
            asyncio.ensure_future(self._read(process.stdout, announces=command.own)),
            asyncio.ensure_future(self._read(process.stderr, announces=False)),
        ]
        self._set(stage="process")
        if command.own and process.stdin is not None:
            process.stdin.write(self.token.encode() + b"\n" + (command.configuration or b"{}") + b"\n")
        await self._wait_until_ready(process, command)

    async def _wait_until_ready(self, process: asyncio.subprocess.Process, command: Command) -> None:
        waiter = self._announced_port() if command.own else self._poll(command)
        ready = asyncio.ensure_future(waiter)
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                self._port = ready.result()
                return
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        await asyncio.wait(self._readers, timeout=1.0)
        raise EngineStartError(self._story(_ended_how(process.returncode)))

    async def _announced_port(self) -> int:
        if self._announced is None:
            raise RuntimeError("nothing was started")
        return await self._announced

    async def _poll(self, command: Command) -> int:
        pause = _POLL
        while True:
            status = await get_status(command.port, command.ready_path, self.token)
            if status == 200:
                return command.port
            if status is not None and self.stage == "process":
                self._set(stage="loading")
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, _POLL_LONGEST)

    async def _read(self, stream: asyncio.StreamReader | None, *, announces: bool) -> None:
        words = LastWords(self.token) if announces else self.last_words
        while stream is not None and (data := await stream.read(65536)):
            for line in words.take(data):
                if announces and line.startswith("{") and self._take_message(line):
                    continue
                if announces:
                    self.last_words.take(line.encode() + b"\n")
                elif self.stage == "process" and self._command is not None and not self._command.own:
                    self._set(stage="loading")
                if self._on_output is not None:
                    self._on_output(line)

    def _take_message(self, line: str) -> bool:
        try:
            message = json.loads(line)
        except ValueError:
            return False
        port, stage = message.get("port"), message.get("stage")
        if isinstance(port, int) and self._announced is not None and not self._announced.done():
            self._announced.set_result(port)
        elif stage == "loading":
            self._set(stage="loading")
        return True

    # --- end

    async def _end(self, grace: float) -> None:
        self._stopping = True
        await self._end_process(grace)
        self._remove_folder()
        self._set(stage="ended")
        self._ended.set()

    async def _end_process(self, grace: float) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None and grace > 0:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
        if process.stdin is not None:
            process.stdin.close()  # the leash ends what left the group
        if process.returncode is None and self._command is not None and not self._command.own:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 2.0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        self.exit_code = await process.wait()
        if self._readers:
            await asyncio.wait(self._readers, timeout=1.0)
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)
        self._readers, self._process = [], None

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # --- words

    def _set(self, *, stage: Stage) -> None:
        if self.stage != stage:
            self.stage = stage
            if self._on_stage is not None:
                self._on_stage(self)

    def _environment(self, command: Command) -> dict[str, str]:
        passed = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
        }
        return {**passed, **_OFFLINE, **command.env, **self._env}

    def _story(self, what: str) -> str:
        words = self.last_words.story()
        told = f" Its last words:\n{words}" if words else " It wrote nothing."
        return f"{self.engine.title} {what} for {self.launch.name}.{told}"


def _ended_how(code: int | None) -> str:
    if code in (-9, 137):
        return "was killed (signal 9) while it started: the system may have run out of memory,"
    if code is not None and code < 0:
        return f"ended by signal {-code} while it started"
    return f"ended with code {code} before it served"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def get_status(port: int, path: str, token: str, timeout: float = 5.0) -> int | None:
    """The status of a GET on 127.0.0.1; ``None`` where nobody answers."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode())
            line = await reader.readline()
        return int(line.split()[1])
    except (OSError, TimeoutError, ValueError, IndexError):
        return None
    finally:
        if writer is not None:
            writer.close()
