"""Usage: calls added up."""

from __future__ import annotations

from pydantic import Field

from byom.ledger import reports
from byom.ledger.queries import By
from byom.server.api.money import dollars
from byom.server.api.schemas.fields import Shown

COUNTS = (
    "calls",
    "refused_calls",
    "failed_calls",
    "unpriced_calls",
    "estimated_calls",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


class UsageTotal(Shown):
    calls: int
    refused_calls: int
    failed_calls: int
    unpriced_calls: int = Field(description="Calls whose price is not known; `cost` is without them.")
    estimated_calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: str | None = Field(description="Dollars, as a decimal string; null where no price is known.")
    latency_ms: float | None = Field(description="The mean over all calls; null without one.")

    @classmethod
    def total(cls, lines: list[reports.UsageLine]) -> UsageTotal:
        counts = {name: sum(getattr(line, name) for line in lines) for name in COUNTS}
        cost, latency = sum(line.cost for line in lines), sum(line.latency for line in lines)
        return cls(**counts, cost=_cost(counts, cost), latency_ms=_mean(counts, latency))


class UsageLine(UsageTotal):
    name: str = Field(description="A model, key, user, connection, day or hour.")
    label: str | None = Field(description="For a key: its name, while it exists.")

    @classmethod
    def of_line(cls, line: reports.UsageLine, label: str | None) -> UsageLine:
        counts = {name: getattr(line, name) for name in COUNTS}
        return cls(
            name=line.name,
            label=label,
            **counts,
            cost=_cost(counts, line.cost),
            latency_ms=_mean(counts, line.latency),
        )


CSV_COLUMNS = ("name", "label", *COUNTS, "cost", "latency_ms")


class Usage(Shown):
    by: By
    data: list[UsageLine]
    total: UsageTotal


def _cost(counts: dict[str, int], cost: int) -> str | None:
    """Nothing known of any call's price is not the same as nothing spent."""
    unknown = cost == 0 and counts["unpriced_calls"] > 0
    return None if unknown else dollars(cost)


def _mean(counts: dict[str, int], latency: int) -> float | None:
    return round(latency / counts["calls"] / 1000, 3) if counts["calls"] else None
