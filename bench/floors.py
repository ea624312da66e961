"""What BYOM has promised to reach in this benchmark, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Floor:
    """A bound on one of BYOM's figures, or on its ratio to the leg ``over`` (paired by round)."""

    title: str
    metric: str
    bound: float
    at_least: bool = True
    over: str = ""
    worst: bool = False
    form: str = ".2f"


FLOORS = (
    Floor("requests/s over nginx", "requests_per_s", 0.25, over="nginx"),
    Floor("requests/s over nginx, goal", "requests_per_s", 0.40, over="nginx"),
    Floor("requests/s over LiteLLM", "requests_per_s", 200, over="litellm", form=",.0f"),
    Floor("requests/s over Portkey", "requests_per_s", 15, over="portkey", form=",.1f"),
    Floor("SSE events/s over nginx", "sse_events_per_s", 0.25, over="nginx"),
    Floor("added p50 at one connection, ms", "added_p50_ms", 0.30, at_least=False, form=".3f"),
    Floor("events lost of 2,000 streams", "stream_events_lost", 0, at_least=False, worst=True, form=",.0f"),
    Floor("memory after the streams, MB", "resident_mb", 120, at_least=False, form=".0f"),
    Floor("ready after start, s", "ready", 1.5, at_least=False),
    Floor("`import byom`, ms", "import_ms_median", 150, at_least=False, form=".0f"),
)
