"""Looking at processes from outside."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int, timeout: float = 10.0) -> None:
    """Returns when the process has ended. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while alive(pid):  # noqa: ASYNC110 - a foreign process tells nobody
            await asyncio.sleep(0.01)


def children() -> set[int]:
    """What this process has started and not yet collected."""
    found: set[int] = set()
    for entry in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        found.update(int(pid) for pid in entry.read_text().split())
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
