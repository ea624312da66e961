"""What this machine has: processors, memory, GPUs. Read from the system, without torch."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import msgspec

_QUERY = "index,name,uuid,memory.total,memory.free,compute_cap"
_MIB = 1024 * 1024


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    name: str
    uuid: str
    memory_total: int
    """Bytes."""
    memory_free: int
    compute_capability: float | None = None


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, and counts. The memory is what this process may use: a container's bound counts."""

    cpus: int
    memory_total: int
    memory_available: int
    gpus: tuple[Gpu, ...] = ()
    system: str = "linux"
    machine: str = "x86_64"


def detect_hardware(*, nvidia_smi: str | None = None, timeout: float = 10.0) -> Hardware:
    """Asks the system, and nvidia-smi where there is one. Blocks: usually for less than a second."""
    total, available = _memory()
    return Hardware(
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_total=total,
        memory_available=available,
        gpus=_gpus(nvidia_smi or shutil.which("nvidia-smi"), timeout),
        system=platform.system().lower(),
        machine=platform.machine().lower(),
    )


def _memory() -> tuple[int, int]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = total
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                total = int(value.split()[0]) * 1024
            elif name == "MemAvailable":
                available = int(value.split()[0]) * 1024
    for bound_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no bound
            bound = int(Path(bound_file).read_text(encoding="ascii"))
            used = int(Path(used_file).read_text(encoding="ascii"))
            if bound < total:
                total, available = bound, min(available, max(bound - used, 0))
    return total, available


def _gpus(program: str | None, timeout: float) -> tuple[Gpu, ...]:
    if program is None:
        return ()
    try:
        answer = subprocess.run(
            [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()  # a driver without a card, or one that does not answer
    return parse_nvidia_smi(answer)


def parse_nvidia_smi(answer: str) -> tuple[Gpu, ...]:
    """The lines of ``nvidia-smi --query-gpu``; those that say ``[N/A]`` where a number is needed are left out."""
    found = []
    for line in answer.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 6:
            continue
        with contextlib.suppress(ValueError):
            capability = float(cells[5]) if cells[5].replace(".", "", 1).isdigit() else None
            found.append(
                Gpu(
                    index=int(cells[0]),
                    name=cells[1],
                    uuid=cells[2],
                    memory_total=int(cells[3]) * _MIB,
                    memory_free=int(cells[4]) * _MIB,
                    compute_capability=capability,
                )
            )
    return tuple(found)
