"""Moves rows from the spool to the database, in a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from byom.ledger.recovery import recover
from byom.ledger.segment import FIRST
from byom.ledger.sink import Sink, SinkRejected, SinkUnavailable, values
from byom.ledger.spool import Spool
from byom.ledger.table import COLUMNS

BATCH = 2000
TICK_SECONDS = 0.25
LONGEST_PAUSE = 2.0
RECOVER_EVERY = 120
"""Ticks after which segments of siblings that died are looked for."""
BUSY_CALLS = 2000
"""Calls a second from which on the writer waits between two batches."""
LONGEST_WAIT = 1.0
"""Seconds between two batches while there are many calls."""
LARGEST_BACKLOG = 4_000_000
"""Rows in the spool, a gigabyte about, from which on the writer does not wait any more."""
NICENESS = 19

_log = logging.getLogger(__name__)


class Writer(threading.Thread):
    """One batch is one transaction. A segment is deleted when all its rows are committed.

    When the database does not take rows they stay in the spool, which grows; the event loop does not notice.
    """

    def __init__(self, spool: Spool, sink: Sink, folder: Path, *, tick: float = TICK_SECONDS) -> None:
        super().__init__(name="ledger-writer", daemon=True)
        self._spool = spool
        self._sink = sink
        self._folder = folder
        self._tick = tick
        self._position = FIRST
        self._wake = threading.Event()
        self._guard = threading.Lock()
        self._goals: list[tuple[int, Callable[[], None]]] = []
        self._stopping = False
        self._pause = 0.0
        self.written = 0
        """Rows of this process's spool that are in the database (or were rejected)."""
        self.recovered = 0
        self.recovery_done = False
        self.rejected = 0
        """Rows the database would not take; they are in ``rejected.jsonl``."""
        self.failure: str | None = None
        """Why the database takes no rows now."""

    def notify(self, goal: int, reached: Callable[[], None]) -> None:
        """Call ``reached`` (in this thread) when ``goal`` rows are written and recovery is done; hurry meanwhile."""
        with self._guard:
            self._goals.append((goal, reached))
        self._wake.set()

    def stop(self) -> None:
        """Write what can be written at once, then end."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        _lower_priority()
        ticks = 0
        while True:
            last = self._stopping
            try:
                if not self.recovery_done or ticks % RECOVER_EVERY == 0:
                    self.recovered += recover(self._folder, self._write)
                    self.recovery_done = True
                while self._write_some():
                    self._report()
                    self._give_way()
                self._succeeded()
            except SinkUnavailable as error:
                self._failed(error)
            except OSError as error:
                self._failed(error)
            self._report()
            if last:
                break
            ticks += 1
            self._wake.wait(self._pause or self._tick)
            self._wake.clear()
        self._sink.close()

    def _give_way(self) -> None:
        """Leave the processor to the calls while there are many: the rows are safe in the spool meanwhile."""
        waited, before = 0.0, self._spool.appended
        while waited < LONGEST_WAIT and not self._hurried:
            self._wake.wait(self._tick)
            waited += self._tick
            appended = self._spool.appended
            if appended - before <= BUSY_CALLS * self._tick:
                return
            before = appended

    @property
    def _hurried(self) -> bool:
        """Somebody waits for the rows, the ledger closes, or the spool has grown large."""
        return self._stopping or bool(self._goals) or self._spool.appended - self.written > LARGEST_BACKLOG

    def _write_some(self) -> bool:
        """Write one batch; ``False`` when there is nothing more."""
        segments = self._spool.segments
        segment, full = segments[0], len(segments) > 1
        payloads, position = segment.read(self._position, BATCH)
        if payloads:
            self._write(payloads)
            self._position = position
            self.written += len(payloads)
            return len(payloads) == BATCH or full
        if full:
            self._spool.release(segment)
            self._position = FIRST
        return full

    def _write(self, payloads: Sequence[bytes]) -> None:
        try:
            self._sink.write(payloads)
        except SinkRejected as error:
            if len(payloads) == 1:
                self._set_aside(payloads[0], error)
                return
            middle = len(payloads) // 2
            self._write(payloads[:middle])
            self._write(payloads[middle:])

    def _set_aside(self, payload: bytes, error: SinkRejected) -> None:
        row = dict(zip(COLUMNS, values(payload), strict=True))
        with (self._folder / "rejected.jsonl").open("ab") as file:
            file.write(msgspec.json.encode({"reason": str(error), "row": row}) + b"\n")
        self.rejected += 1
        _log.error("the database does not take the ledger row %s: it is in rejected.jsonl", row["id"])

    def _succeeded(self) -> None:
        if self.failure is not None:
            _log.info("the database takes ledger rows again")
        self.failure, self._pause = None, 0.0

    def _failed(self, error: Exception) -> None:
        if self.failure is None:
            _log.warning("ledger rows stay in the spool: %s", error)
        self.failure = str(error)
        self._pause = min(LONGEST_PAUSE, max(self._tick, self._pause * 2))

    def _report(self) -> None:
        if not self._goals or not self.recovery_done:
            return
        with self._guard:
            reached = [callback for goal, callback in self._goals if goal <= self.written]
            self._goals = [(goal, callback) for goal, callback in self._goals if goal > self.written]
        for callback in reached:
            callback()


def _lower_priority() -> None:
    """Let the event loop's thread go first where both want the same core (Linux knows priorities of threads)."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class SpoolKeeper(threading.Thread):
    """Makes segments in advance and flushes them to the disk, so that neither happens on the event loop."""

    def __init__(self, spool: Spool, *, sync_seconds: float, tick: float = TICK_SECONDS) -> None:
        super().__init__(name="ledger-spool", daemon=True)
        self._spool = spool
        self._every = max(1, round(sync_seconds / tick)) if sync_seconds > 0 else 0
        self._tick = tick
        self._ended = threading.Event()

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        ticks = synced = 0
        while not self._ended.wait(self._tick):
            ticks += 1
            try:
                self._spool.prepare()
                if self._every and ticks % self._every == 0 and self._spool.appended != synced:
                    synced = self._spool.appended
                    self._spool.sync()
            except OSError:
                _log.exception("the ledger's spool cannot be kept")
