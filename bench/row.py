"""The unit of the raw results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value. ``value`` is ``None`` where errors or losses leave nothing to quote."""

    metric: str
    value: float | None
    unit: str
    errors: int = 0
    samples: int = 0
    window_s: float = 0.0
    gateway_cpu: float | None = None  # cores the gateway used during the window
    foreign_cpu: float | None = None  # share of a core in use that programs outside the benchmark took
    note: str = ""
