"""Knows of the end of a process as soon as the system does: its pipes may stay open for a while after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable


class DeathWatch:
    """Calls ``died`` once for each process that is watched and ends. Belongs to one event loop; Linux only, elsewhere
    it is silent."""

    def __init__(self, died: Callable[[], None]) -> None:
        self._died = died
        self._watched = -1

    def watch(self, pid: int) -> None:
        """Of this process, a child of this one, and no other from now on."""
        self.end()
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._watched = os.pidfd_open(pid)
                asyncio.get_running_loop().add_reader(self._watched, self._ended)

    def end(self) -> None:
        """Watch none."""
        watched, self._watched = self._watched, -1
        if watched >= 0:
            asyncio.get_running_loop().remove_reader(watched)
            os.close(watched)

    def _ended(self) -> None:
        self.end()
        self._died()
