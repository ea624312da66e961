"""A million calls through one gateway, and whether anything of it stays behind.

    python bench/soak.py                       one million calls through BYOM; writes bench/results/soak.csv
    python bench/soak.py --calls 200000 --out /tmp/soak.csv

Whole and streamed answers alternate in segments of about 50,000 calls. A segment ends by closing its 32 connections in
the middle of their calls, so every segment also leaves 32 cancelled calls. Between segments, with nothing in
flight, the gateway's memory, open files, calls in flight (by its own gauge) and upstream connections are read.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import environment
import startup
from bodies import Bodies
from driver.wrk import drive
from legs.leg import BURST, PLAIN, Running, Target, Upstreams, Workplace
from measure import CONNECTIONS
from processes import LOAD_CORE, Child, Children
from run import BENCH, LEGS, end_on_termination, start_mocks

SEGMENT_CALLS = 50_000
_FIRST_GUESS_PER_S = 25_000.0
_SETTLE_S = 2.0
_IN_FLIGHT = re.compile(r"^byom_\w*in_flight\w*(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)

# What "about zero" means: allocator noise of a process of some tens of MB, not a byte per call.
SLOPE_LIMIT_MB_PER_MILLION = 5.0
FILES_LIMIT = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway at rest after ``calls`` answered calls. ``in_flight`` is ``None`` where it tells no such gauge."""

    calls: int
    errors: int
    seconds: float
    model: str
    resident_mb: float
    open_files: int
    upstream_connections: int
    in_flight: float | None


@dataclass(slots=True)
class Soak:
    """One running soak."""

    running: Running
    child: Child
    upstreams: Upstreams
    bodies: Bodies

    def run(self, calls: int) -> list[Sample]:
        """Drive segments until ``calls`` calls were answered; one sample after each."""
        done = errors = segment = 0
        per_segment = min(SEGMENT_CALLS, calls / 20)
        rates = dict.fromkeys((PLAIN, BURST), _FIRST_GUESS_PER_S)
        started_at = time.monotonic()
        samples: list[Sample] = []
        while done < calls:
            model = (PLAIN, BURST)[segment % 2]
            target = self.running.target(model)
            load = drive(
                target.url,
                self.bodies.path(model),
                target.headers,
                connections=CONNECTIONS,
                duration_s=min(60.0, per_segment / rates[model]),
            )
            rates[model] = max(1.0, load.per_second)
            done, errors, segment = done + load.requests, errors + load.errors, segment + 1
            time.sleep(_SETTLE_S)
            samples.append(self._sample(done, errors, time.monotonic() - started_at, model))
            print(samples[-1], flush=True)
        return samples

    def _sample(self, calls: int, errors: int, seconds: float, model: str) -> Sample:
        return Sample(
            calls=calls,
            errors=errors,
            seconds=round(seconds, 1),
            model=model,
            resident_mb=round(self.child.resident_bytes() / 1e6, 3),
            open_files=self.child.open_files(),
            upstream_connections=connections_to(set(self.upstreams.ports.values())),
            in_flight=calls_in_flight(self.running.target(PLAIN)),
        )


def connections_to(ports: set[int]) -> int:
    """Established TCP connections of this machine whose far end is one of ``ports``."""
    established, count = "01", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        count += state == established and int(remote.partition(":")[2], 16) in ports
    return count


def calls_in_flight(target: Target) -> float | None:
    """The sum of the in-flight gauges that ``/metrics`` of the target's host shows; ``None`` without any."""
    host = target.url.split("/")[2]
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", "/metrics", headers=dict(target.headers))
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace") if answer.status == 200 else ""
    finally:
        connection.close()
    found = _IN_FLIGHT.findall(text)
    return sum(float(value) for value in found) if found else None


def slope_mb_per_million(samples: Sequence[Sample]) -> float:
    """Least-squares slope of resident memory over calls, second half of the run, MB per million calls."""
    half = samples[-1].calls / 2
    later = [sample for sample in samples if sample.calls >= half]
    if len(later) < 3:
        raise ValueError("a slope needs three samples in the second half: run longer")
    fit = statistics.linear_regression([s.calls / 1e6 for s in later], [s.resident_mb for s in later])
    return fit.slope


def faults(samples: Sequence[Sample]) -> list[str]:
    """What did not hold; empty for a clean soak."""
    middle, last = samples[len(samples) // 2], samples[-1]
    found = []
    if (slope := slope_mb_per_million(samples)) > SLOPE_LIMIT_MB_PER_MILLION:
        found.append(f"memory grows by {slope:.1f} MB per million calls")
    if last.errors:
        found.append(f"{last.errors} errors")
    if last.in_flight:
        found.append(f"{last.in_flight:g} calls still in flight")
    if last.open_files > middle.open_files + FILES_LIMIT:
        found.append(f"open files grew from {middle.open_files} to {last.open_files}")
    if last.upstream_connections > middle.upstream_connections + FILES_LIMIT:
        found.append(f"upstream connections grew from {middle.upstream_connections} to {last.upstream_connections}")
    return found


def write(path: Path, samples: Sequence[Sample]) -> None:
    """All samples as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as sink:
        rows = csv.DictWriter(sink, [column.name for column in fields(Sample)], lineterminator="\n")
        rows.writeheader()
        rows.writerows(asdict(sample) for sample in samples)


def soak(leg_name: str, calls: int) -> list[Sample]:
    """Start the mocks and the gateway, drive it, end everything; the samples."""
    with tempfile.TemporaryDirectory(prefix="byom-soak-") as scratch, Children(Path(scratch)) as children:
        folder = Path(scratch)
        bodies = Bodies(folder)
        upstreams = start_mocks(children, folder, stream_s=1.0)
        running = LEGS[leg_name]().start(Workplace(children, folder / leg_name, upstreams))
        if running.child is None:
            raise SystemExit(f"{leg_name} is no process to watch")
        startup.wait_until_ready(running, bodies)
        return Soak(running, running.child, upstreams, bodies).run(calls)


def main() -> int:
    """Run, write, judge; 1 when something stayed behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--leg", default="byom", choices=sorted(set(LEGS) - {"direct"}))
    parser.add_argument("--out", type=Path, default=BENCH / "results" / "soak.csv")
    options = parser.parse_args()
    if obstacles := environment.obstacles():
        print("cannot measure here: " + "; ".join(obstacles), file=sys.stderr)
        return 1
    environment.raise_open_file_limit()
    os.sched_setaffinity(0, {LOAD_CORE})
    end_on_termination()
    samples = soak(options.leg, options.calls)
    write(options.out, samples)
    last = samples[-1]
    slope = slope_mb_per_million(samples)
    print(
        f"{last.calls:,} calls in {last.seconds:.0f} s, {last.errors} errors; memory {last.resident_mb:.1f} MB, slope "
        f"{slope:+.2f} MB per million calls over the second half; {last.open_files} open files, "
        f"{last.upstream_connections} upstream connections, {last.in_flight} in flight"
    )
    found = faults(samples)
    print("clean" if not found else "not clean: " + "; ".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
