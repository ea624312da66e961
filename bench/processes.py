"""Child processes of the benchmark: pinned to a core, never left behind, measured through /proc.

Linux only: pinning, the parent-death signal and the figures all come from the kernel's own interfaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

GATEWAY_CORE = 1
LOAD_CORE = 0
_PR_SET_PDEATHSIG = 1
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LIBC = ctypes.CDLL(None, use_errno=True)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment every leg gets: byte code may be cached, as on an ordinary machine."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment.setdefault("PYTHONPYCACHEPREFIX", str(Path.home() / ".cache" / "byom-bench" / "pycache"))
    environment.update(extra or {})
    return environment


@dataclass(slots=True)
class Child:
    """One started process, with its descendants, and the clock reading of its start (seconds, monotonic)."""

    process: subprocess.Popen[bytes]
    core: int
    started_at: float
    log: Path

    def tree(self) -> list[int]:
        """Process ids of the child and all its living descendants."""
        return _with_descendants(self.process.pid)

    def resident_bytes(self) -> int:
        """Resident memory, bytes, summed over the tree (shared pages are counted once per process)."""
        return sum(_resident_bytes(pid) for pid in self.tree())

    def cpu_seconds(self) -> float:
        """User and system time, seconds, of the living tree."""
        return sum(_cpu_seconds(pid) for pid in self.tree())

    def open_files(self) -> int:
        """Open file descriptors of the child itself."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def log_tail(self, characters: int = 2000) -> str:
        """The end of what the process wrote, for messages."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def stop(self, grace_s: float = 10.0) -> None:
        """Ask the whole process group to end, insist after ``grace_s`` seconds."""
        _signal_group(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        # Also after a clean end: a leader may leave workers of its group behind.
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(slots=True)
class Children:
    """Every process of a run; leaving the ``with`` block, however it is left, ends them all."""

    log_dir: Path
    _children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.stop(grace_s=3.0)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        core: int,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Child:
        """Start ``command`` in its own process group, pinned to ``core``; output goes to ``log_dir/name.log``."""
        log = self.log_dir / f"{name}.log"
        with log.open("ab") as sink:
            started_at = time.monotonic()
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=child_environment(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=lambda: pin_and_follow_parent(core),
            )
        child = Child(process, core, started_at, log)
        self._children.append(child)
        return child

    def on_core(self, core: int) -> list[Child]:
        """The running children that are pinned to ``core``."""
        return [child for child in self._children if child.core == core]

    def stop(self, child: Child) -> None:
        """End one child now."""
        child.stop()
        self._children.remove(child)


def run_on_load_core(command: Sequence[str | Path], *, timeout_s: float) -> str:
    """Run a driver on the load core to its end and return its stdout; raises ``CalledProcessError``."""
    finished = subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=child_environment(),
        preexec_fn=lambda: pin_and_follow_parent(LOAD_CORE),
    )
    return finished.stdout


def pin_and_follow_parent(core: int) -> None:
    """In a new child: stay on one core, and get SIGTERM should the benchmark itself die."""
    os.sched_setaffinity(0, {core})
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def core_busy_seconds(core: int) -> float:
    """Seconds a core has spent in user and system code since boot, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system = (int(ticks) for ticks in line.split()[1:4])
            return (user + nice + system) / _TICKS_PER_SECOND
    raise LookupError(f"no core {core} in /proc/stat")


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found.extend(int(child) for child in children)
    return found


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return
