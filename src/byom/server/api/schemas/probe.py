"""Probes: what a model can do, found out by asking it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from byom.server.api.schemas.fields import Error, Shown
from byom.upstream import ability_report


class ProbePlan(Shown):
    """The most that a probe will do."""

    model: str
    calls: int
    prompt_tokens: int = Field(description="About this many.")
    max_tokens: int = Field(description="Answer tokens, never more.")
    steps: list[str]


class Finding(Shown):
    value: Literal["yes", "no", "unknown"]
    evidence: str


class ProbeUsage(Shown):
    prompt_tokens: int
    completion_tokens: int
    estimated: bool


class AbilityReport(Shown):
    model: str
    abilities: list[str] = Field(description="Those that the probe has seen; stored with the model.")
    findings: dict[str, Finding]
    context_window: int | None
    dimensions: int | None
    first_token_ms: float | None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None
    calls: int
    usage: ProbeUsage
    cost: str | None = Field(description="Dollars; null where the price is not known.")

    @classmethod
    def from_report(cls, found: ability_report.AbilityReport, cost: str | None) -> AbilityReport:
        return cls(
            model=found.model,
            abilities=sorted(found.abilities()),
            findings={name: Finding.of(finding) for name, finding in found.findings.items()},
            context_window=found.context_window,
            dimensions=found.dimensions,
            first_token_ms=found.first_token_ms,
            max_tokens_field=found.max_tokens_field,
            calls=found.calls,
            usage=ProbeUsage.of(found.usage),
            cost=cost,
        )


class ProbeOutcome(Shown):
    """A probe that followed a new connection: its report, or why there is none."""

    model: str
    report: AbilityReport | None = None
    error: Error | None = None
