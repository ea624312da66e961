"""The machine, the kernel and the versions a run was made with."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from processes import GATEWAY_CORE, LOAD_CORE


def describe() -> dict[str, str]:
    """Facts by name; a tool that is not installed is said to be so."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _after_colon(Path("/proc/cpuinfo"), "model name"),
        "cores": str(os.cpu_count()),
        "memory": _after_colon(Path("/proc/meminfo"), "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": _version(["nginx", "-v"]),
        "wrk": _version(["wrk", "-v"]),
        "node": _version(["node", "--version"]),
        "pinning": f"gateway alone on core {GATEWAY_CORE}; mock upstream and driver on core {LOAD_CORE}",
        "open files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        "load average at start": f"{os.getloadavg()[0]:.2f}",
    }


def obstacles() -> list[str]:
    """Why the benchmark cannot run here at all; empty when it can."""
    found = [f"{tool} is not installed" for tool in ("nginx", "wrk") if not shutil.which(tool)]
    if platform.system() != "Linux":
        found.append("the benchmark pins processes and reads /proc: Linux only")
    elif not {GATEWAY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        found.append(f"cores {LOAD_CORE} and {GATEWAY_CORE} are both needed")
    return found


def raise_open_file_limit() -> None:
    """Use all the open files the system allows: a gateway needs two per open stream."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _version(command: Sequence[str]) -> str:
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    return ((finished.stdout + finished.stderr).strip().splitlines() or ["unknown"])[0]


def _after_colon(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
