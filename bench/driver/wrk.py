"""The closed-loop driver: wrk with keep-alive connections, one thread, on the load core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from processes import run_on_load_core

_SCRIPT = Path(__file__).with_name("chat.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What one window of load saw. Times in microseconds; ``errors`` counts every kind."""

    requests: int
    duration_s: float
    bytes: int
    errors: int
    p50_us: int
    p99_us: int

    @property
    def per_second(self) -> float:
        return self.requests / self.duration_s


def drive(
    url: str, body: Path, headers: Mapping[str, str], *, connections: int, duration_s: float, timeout_s: float = 60
) -> Load:
    """Post ``body`` to ``url`` over ``connections`` keep-alive connections for ``duration_s`` seconds."""
    command: list[str | Path] = [
        "wrk",
        "--threads=1",
        f"--connections={connections}",
        f"--duration={max(1, round(duration_s))}s",
        f"--timeout={round(timeout_s)}s",
        "--script",
        _SCRIPT,
        url,
        "--",
        body,
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    output = run_on_load_core(command, timeout_s=duration_s + timeout_s + 30)
    figures = json.loads(output.rpartition("RESULT ")[2])
    return Load(
        requests=figures["requests"],
        duration_s=figures["duration_us"] / 1e6,
        bytes=figures["bytes"],
        errors=sum(figures[kind] for kind in ("connect", "read", "write", "status", "timeout")),
        p50_us=figures["p50_us"],
        p99_us=figures["p99_us"],
    )
