"""Figures of the gateway, kept as plain numbers on the byte path. Values: they can be sent to another process."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
OVERHEAD = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5)


class Histogram(msgspec.Struct):
    """How many values lie up to each of the ``bounds``, and beyond."""

    bounds: tuple[float, ...]
    counts: list[int] = []
    sum: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: Histogram) -> None:
        """Count what the other one of the same bounds counted."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def buckets(self) -> list[tuple[str, float]]:
        rows, total = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            rows.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
        return rows


def _in_seconds() -> Histogram:
    return Histogram(SECONDS)


def _of_overhead() -> Histogram:
    return Histogram(OVERHEAD)


class ModelFigures(msgspec.Struct):
    """Of one model. The number of models is the catalog's, so the number of label values is bounded."""

    states: dict[tuple[str, int], int] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0
    """Picodollars."""
    retries: int = 0
    latency: Histogram = msgspec.field(default_factory=_in_seconds)
    first_token: Histogram = msgspec.field(default_factory=_in_seconds)
    overhead: Histogram = msgspec.field(default_factory=_of_overhead)

    def add(self, other: ModelFigures) -> None:
        for outcome, count in other.states.items():
            self.states[outcome] = self.states.get(outcome, 0) + count
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost += other.cost
        self.retries += other.retries
        self.latency.add(other.latency)
        self.first_token.add(other.first_token)
        self.overhead.add(other.overhead)


class Figures(msgspec.Struct):
    """All of the gateway's."""

    models: dict[str, ModelFigures] = {}
    unauthorized: int = 0
    loop_lag: Histogram = msgspec.field(default_factory=_in_seconds)
    loop_lag_last: float = 0.0

    def of(self, model: str) -> ModelFigures:
        figures = self.models.get(model)
        if figures is None:
            figures = self.models[model] = ModelFigures()
        return figures

    def add(self, other: Figures) -> None:
        """Count what another process counted."""
        for name, figures in other.models.items():
            self.of(name).add(figures)
        self.unauthorized += other.unauthorized
        self.loop_lag.add(other.loop_lag)
        self.loop_lag_last = max(self.loop_lag_last, other.loop_lag_last)
