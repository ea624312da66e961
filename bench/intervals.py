"""Medians with bootstrap intervals: what a handful of rounds can say, and how surely."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_RESAMPLES = 5000
_SEED = 20240229


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median of ``count`` rounds and the 95 % percentile-bootstrap interval of that median."""

    median: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """Median and interval of at least one value; the seed is fixed, so a table can be made again."""
    generator = random.Random(_SEED)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return Estimate(
        median=statistics.median(values),
        low=medians[round(0.025 * (_RESAMPLES - 1))],
        high=medians[round(0.975 * (_RESAMPLES - 1))],
        count=len(values),
    )
