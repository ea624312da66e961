"""The processes below a process, from Linux's ``/proc``."""

from __future__ import annotations

import os
from typing import Dict, List, Optional  # noqa: UP035 - evaluated on Python 3.9

PROC = "/proc"
_MOST_ASKED = 64
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def available() -> bool:
    """Whether this system tells who descends from whom."""
    return os.path.exists(f"{PROC}/self/stat")  # noqa: PTH110


def children() -> Dict[int, List[int]]:  # noqa: UP006
    """The living children of every process, by its id. Dead ones that nobody has waited for are left out."""
    found: Dict[int, List[int]] = {}  # noqa: UP006
    for name in os.listdir(PROC):  # noqa: PTH208
        if not name.isdigit():
            continue
        try:
            with open(f"{PROC}/{name}/stat", "rb") as file:  # noqa: PTH123
                # The program's name may contain anything, blanks and brackets too: what counts comes after it.
                state, parent = file.read().rpartition(b")")[2].split(None, 2)[:2]
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if state not in (b"Z", b"X"):
            found.setdefault(int(parent), []).append(int(name))
    return found


def below(pid: int, family: Optional[Dict[int, List[int]]] = None) -> List[int]:  # noqa: UP006, UP045
    """All living descendants of a process, now or in a ``family`` that `children` has given."""
    family = children() if family is None else family
    found: List[int] = []  # noqa: UP006
    waiting = list(family.get(pid, ()))
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting.extend(family.get(one, ()))
    return found


def memory(pids: List[int]) -> int:  # noqa: UP006
    """Bytes in memory that belong to these processes; what several of them share counts once (of very many: each
    time, because asking would take seconds)."""
    if len(pids) == 1 or len(pids) > _MOST_ASKED:
        return sum(_resident(pid) for pid in pids)
    return sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    try:
        with open(f"{PROC}/{pid}/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"{PROC}/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass  # not told: what is resident is the upper bound
    return _resident(pid)
