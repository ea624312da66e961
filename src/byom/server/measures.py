"""What one process measured, to be added up with what its siblings did."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from byom.gateway.figures import Figures

if TYPE_CHECKING:
    from byom.ledger.ledger import Gauges

GREATEST = frozenset({"byom_uptime_seconds"})
"""Gauges that are the same for all processes of a hub; all others are sums."""
_WORST = ("closed", "half-open", "open")


class Measures(msgspec.Struct):
    """Of one process, or of several together."""

    figures: Figures
    gauges: list[tuple[str, str, float]] = []
    """Name, help text, value."""
    circuits: dict[str, str] = {}
    """Each connection's circuit: closed, half-open or open. Each process has circuits of its own."""
    worker: int | None = None
    """Which place among the workers this process has; places are numbered from 0 and taken again after a restart."""
    memory: int = 0
    """Resident bytes; 0 where the system does not tell."""
    restarts: int = 0
    """Workers that this process replaced."""


def merge(parts: Iterable[Measures]) -> Measures:
    """The whole hub's. A circuit is as open as the most open one."""
    whole = Measures(Figures())
    values: dict[str, tuple[str, float]] = {}
    for part in parts:
        whole.figures.add(part.figures)
        for name, text, value in part.gauges:
            _, before = values.get(name, (text, 0.0))
            values[name] = text, max(before, value) if name in GREATEST else before + value
        for connection, state in part.circuits.items():
            before_state = whole.circuits.get(connection, "closed")
            whole.circuits[connection] = max(before_state, state, key=_WORST.index)
    whole.gauges = [(name, text, value) for name, (text, value) in values.items()]
    return whole


def resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def together(ledgers: Sequence[Gauges]) -> Gauges:
    """The ledgers of all processes as one, which takes rows when all of them do. At least one."""
    first, *others = ledgers
    for other in others:
        first = type(first)(
            spooled=first.spooled + other.spooled,
            written=first.written + other.written,
            recovered=first.recovered + other.recovered,
            rejected=first.rejected + other.rejected,
            spool_bytes=first.spool_bytes + other.spool_bytes,
            accepting=first.accepting and other.accepting,
            failure=first.failure or other.failure,
        )
    return first
