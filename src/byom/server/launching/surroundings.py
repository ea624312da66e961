"""What all launches of a hub share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from byom.server.launching.seam import Reserved, Runtime, Source

FETCHES = 3
"""Launches that fetch at the same time; more wait."""
LOADS = 2
"""Launches that load at the same time; more wait."""


class Surroundings(NamedTuple):
    """Belongs to one event loop."""

    runtime: Runtime
    source: Source
    logs: Path
    """Folder of the logs."""
    fetching: asyncio.Semaphore
    loading: asyncio.Semaphore
    leave: Callable[[str], Awaitable[str | None]]
    """Unload what was not used for longest, for the launch of this uid; the name, or ``None``."""
    reserved: Callable[[str], Reserved]
    """What others than this one are about to take."""
