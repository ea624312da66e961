"""Takes over the segments of processes that are no more."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from byom.ledger.segment import lock, records

BATCH = 1000
STALE_SECONDS = 60.0

_log = logging.getLogger(__name__)


def recover(folder: Path, write: Callable[[Sequence[bytes]], None]) -> int:
    """Write the rows of all segments without a living owner and delete these. Returns how many rows there were.

    Rows that are in the database already stay as they are. When ``write`` raises, what is not yet written stays.
    """
    found = 0
    for path in sorted(folder.glob("*.seg")):
        try:
            fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            continue  # another process was faster
        try:
            if lock(fd):
                found += _take_over(path, fd, write)
        finally:
            os.close(fd)
    _remove_unfinished(folder)
    return found


def _take_over(path: Path, fd: int, write: Callable[[Sequence[bytes]], None]) -> int:
    with os.fdopen(fd, "rb", closefd=False) as file:
        content = file.read()
    rows = 0
    batch: list[bytes] = []
    for payload in records(content):
        batch.append(payload)
        if len(batch) == BATCH:
            write(batch)
            rows += len(batch)
            batch = []
    if batch:
        write(batch)
    rows += len(batch)
    path.unlink(missing_ok=True)
    if rows:
        _log.info("took over %d ledger rows of a process that has ended", rows)
    return rows


def _remove_unfinished(folder: Path) -> None:
    """Files of processes that ended while making them. They hold nothing."""
    for path in folder.glob("*.new"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue
