"""Memory of a process and of those it started."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def resident_bytes(pid: int) -> int | None:
    """Resident memory in bytes; pages that several share count once each. ``None`` off Linux, or where it has ended."""
    found = _resident(pid)
    if found is None:
        return None
    for child in descendants(pid):
        found += _resident(child) or 0
    return found


def descendants(pid: int) -> list[int]:
    """All processes below this one, as Linux knows them."""
    below: list[int] = []
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError, ValueError):
            for child in map(int, entry.read_text(encoding="ascii").split()):
                below += [child, *descendants(child)]
    return below


def _resident(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
