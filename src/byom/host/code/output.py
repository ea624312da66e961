"""Writes the log to a descriptor whose reader may be slow or gone, without ever waiting for it."""

from __future__ import annotations

import os
import threading
from collections import deque

_MOST = 20_000


class Output:
    """Lines are queued and written by a thread; when too many wait, the oldest are left out."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._lines: deque[str] = deque(maxlen=_MOST)
        self._some = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        self._idle.clear()
        self._lines.append(line)
        self._some.set()

    def drain(self, timeout: float) -> None:
        """Returns when everything is written, or the time is over."""
        self._idle.wait(timeout)

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            batch: list[str] = []
            while self._lines and len(batch) < 500:
                batch.append(self._lines.popleft())
            if self._lines:
                self._some.set()
            data = "".join(f"{line}\n" for line in batch).encode("utf-8", "replace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._lines.clear()  # nobody reads
            if not self._lines:
                self._idle.set()
