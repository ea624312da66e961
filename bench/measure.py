"""The measurements of one started gateway. Each gives rows; a window with errors has no speed and no latency."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bodies import Bodies, ask
from driver.wrk import Load, drive
from legs.leg import BURST, PACED, PLAIN, Running
from mock.answers import EVENTS_PER_ANSWER
from processes import run_on_load_core
from row import Row
from watch import DISTURBED, Shares, Watcher

CONNECTIONS = 32
EVENTS_PER_S = 20.0
_STREAM_DRIVER = Path(__file__).parent / "driver" / "streams.py"


@dataclass(frozen=True, slots=True)
class Windows:
    """How long each measurement lasts, seconds, and how large the stream run is."""

    throughput_s: float = 6.0
    latency_s: float = 4.0
    warm_up_s: float = 2.0
    streams: int = 2000
    stream_s: float = 20.0
    stream_deadline_s: float = 120.0
    tries: int = 3  # a window that other programs disturbed is measured again, up to so many times in all

    def doubled(self) -> Windows:
        """For a gateway so slow that the usual window sees a few answers only."""
        return replace(self, throughput_s=2 * self.throughput_s, latency_s=2 * self.latency_s)


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures ``running``."""

    running: Running
    bodies: Bodies
    windows: Windows
    watcher: Watcher

    def warm_up(self) -> None:
        """Load without measuring, so that pools are filled and code is hot."""
        self._load(PLAIN, CONNECTIONS, self.windows.warm_up_s)

    def throughput(self) -> list[Row]:
        """Requests per second of the small completion, 32 connections, closed loop."""
        load, shares = self._undisturbed(PLAIN, CONNECTIONS, self.windows.throughput_s)
        return [self._row("requests_per_s", load.per_second, "1/s", load, shares)]

    def answers(self) -> list[Row]:
        """Streamed answers and events per second, 32 connections, after one answer was checked event by event."""
        status, body = ask(self.running.target(BURST), self.bodies.path(BURST).read_bytes())
        events = body.count(b"data: ")
        if status != 200 or events != EVENTS_PER_ANSWER or not body.rstrip().endswith(b"data: [DONE]"):
            note = f"status {status}, {events} of {EVENTS_PER_ANSWER} events in the checked answer"
            metrics = ("sse_answers_per_s", "sse_events_per_s")
            return [Row(metric, None, "1/s", errors=1, note=note) for metric in metrics]
        load, shares = self._undisturbed(BURST, CONNECTIONS, self.windows.throughput_s)
        return [
            self._row("sse_answers_per_s", load.per_second, "1/s", load, shares),
            self._row("sse_events_per_s", load.per_second * events, "1/s", load, shares),
        ]

    def latency(self) -> list[Row]:
        """p50 and p99 of the small completion at one connection, milliseconds."""
        load, shares = self._undisturbed(PLAIN, 1, self.windows.latency_s)
        return [
            self._row("p50_ms", load.p50_us / 1000, "ms", load, shares),
            self._row("p99_ms", load.p99_us / 1000, "ms", load, shares),
        ]

    def streams(self) -> list[Row]:
        """Many paced streams at once: events lost, lateness, and the gateway's processor time and memory after."""
        with self.watcher.window(self.running.child) as shares:
            figures = json.loads(
                run_on_load_core(self._stream_command(), timeout_s=self.windows.stream_deadline_s + 60)
            )
        broken = figures["streams"] - figures["perfect"]
        base = Row(
            metric="",
            value=None,
            unit="",
            errors=broken,
            samples=figures["events_received"],
            window_s=figures["elapsed_s"],
            gateway_cpu=shares.gateway,
            foreign_cpu=shares.foreign(gateway_core_used=self.running.child is not None),
            note=json.dumps(figures["faults"]) if broken else "",
        )
        values: list[tuple[str, float | None, str]] = [
            ("streams_open", figures["most_open"], "streams"),
            ("stream_events_lost", figures["events_lost"], "events"),
            *(
                (f"stream_late_{share}_ms", None if broken else figures[f"late_{share}_us"] / 1000, "ms")
                for share in ("p50", "p99")
            ),
        ]
        if self.running.child:
            values.append(("resident_mb", self.running.child.resident_bytes() / 1e6, "MB"))
        return [replace(base, metric=metric, value=value, unit=unit) for metric, value, unit in values]

    def _stream_command(self) -> list[str | Path]:
        target, events = self.running.target(PACED), round(EVENTS_PER_S * self.windows.stream_s)
        return [
            *(sys.executable, _STREAM_DRIVER, "--url", target.url, "--body", self.bodies.path(PACED)),
            *("--streams", str(self.windows.streams), "--events", str(events)),
            *("--deadline", str(self.windows.stream_deadline_s)),
            *(word for name, value in target.headers.items() for word in ("--header", f"{name}: {value}")),
        ]

    def _undisturbed(self, model: str, connections: int, seconds: float) -> tuple[Load, Shares]:
        """The first window in which nobody else used the cores, else the last one tried."""
        for _ in range(self.windows.tries - 1):
            load, shares = self._load(model, connections, seconds)
            if self._foreign(shares) < DISTURBED:
                return load, shares
        return self._load(model, connections, seconds)

    def _load(self, model: str, connections: int, seconds: float) -> tuple[Load, Shares]:
        target = self.running.target(model)
        with self.watcher.window(self.running.child) as shares:
            load = drive(
                target.url, self.bodies.path(model), target.headers, connections=connections, duration_s=seconds
            )
        return load, shares

    def _foreign(self, shares: Shares) -> float:
        return shares.foreign(gateway_core_used=self.running.child is not None)

    def _row(self, metric: str, value: float, unit: str, load: Load, shares: Shares) -> Row:
        clean = load.errors == 0 and load.requests > 0
        return Row(
            metric=metric,
            value=value if clean else None,
            unit=unit,
            errors=load.errors if load.requests else max(load.errors, 1),
            samples=load.requests,
            window_s=load.duration_s,
            gateway_cpu=shares.gateway,
            foreign_cpu=self._foreign(shares),
            note="" if clean else f"{load.errors} errors beside {load.requests} answers",
        )


def added_latency(direct: list[Row], through: list[Row]) -> list[Row]:
    """Gateway minus direct, of two windows measured one after the other."""
    rows = []
    for near, far in zip(direct, through, strict=True):
        value = None if near.value is None or far.value is None else far.value - near.value
        foreign = max(near.foreign_cpu or 0.0, far.foreign_cpu or 0.0)
        note = "a window had errors" if value is None else ""
        errors = near.errors + far.errors
        rows.append(
            replace(far, metric=f"added_{far.metric}", value=value, errors=errors, foreign_cpu=foreign, note=note)
        )
    return rows
