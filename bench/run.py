"""Measure the gateways side by side, each alone on one core, in interleaved rounds.

python bench/run.py                    everything; writes bench/results/ and the table in README.md
python bench/run.py --quick            two short rounds, into a temporary folder, to see that it works
python bench/run.py --legs direct,nginx,byom --rounds 5
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import environment
import peers
import report
import results
import startup
from bodies import Bodies
from legs.byom import Byom
from legs.direct import Direct
from legs.leg import BURST, PACED, PLAIN, Leg, Running, Upstreams, Workplace
from legs.litellm import LiteLLM
from legs.nginx import Nginx
from legs.portkey import Portkey
from measure import EVENTS_PER_S, Meter, Windows, added_latency
from mock.static import StaticMock
from processes import LOAD_CORE, Children, free_port
from row import Row
from watch import Watcher

BENCH = Path(__file__).resolve().parent
LEGS: dict[str, Callable[[], Leg]] = {
    "direct": Direct,
    "nginx": Nginx,
    "byom": Byom,
    "litellm": LiteLLM,
    "portkey": Portkey,
}
QUICK = Windows(throughput_s=2, latency_s=2, warm_up_s=1, streams=200, stream_s=5, stream_deadline_s=30, tries=1)


@dataclass(slots=True)
class Bench:
    """One run: what is measured, with which windows, and where the rows go."""

    legs: Sequence[Leg]
    windows: Windows
    writer: results.Writer
    children: Children
    bodies: Bodies
    upstreams: Upstreams
    folder: Path

    def speed_round(self, number: int) -> None:
        """One round: every leg once, each time as a fresh process; the order turns from round to round."""
        turn = number % len(self.legs)
        for leg in [*self.legs[turn:], *self.legs[:turn]]:
            with self._reporting(number, leg), self._started(number, leg) as running:
                self._speed(number, leg, running)

    def stream_round(self, number: int) -> None:
        """One stream run of every leg; a slow leg has only the first."""
        for leg in self.legs:
            if leg.slow and number > 0:
                continue
            with self._reporting(number, leg), self._started(number, leg) as running:
                self._add(number, leg, self._meter(leg, running).streams())

    def _speed(self, number: int, leg: Leg, running: Running) -> None:
        meter = self._meter(leg, running)
        meter.warm_up()
        before = self._meter(leg, Direct().start(self._workplace(leg))).latency()
        through = meter.latency()
        self._add(number, leg, through)
        if running.child:
            self._add(number, leg, added_latency(before, through))
        self._add(number, leg, meter.throughput())
        self._add(number, leg, meter.answers())

    def _meter(self, leg: Leg, running: Running) -> Meter:
        windows = self.windows.doubled() if leg.slow else self.windows
        return Meter(running, self.bodies, windows, Watcher(self.children))

    @contextmanager
    def _started(self, number: int, leg: Leg) -> Iterator[Running]:
        running = leg.start(self._workplace(leg))
        try:
            ready = startup.wait_until_ready(running, self.bodies)
            if running.child:
                self._add(number, leg, [ready])
            yield running
        finally:
            if running.child:
                self.children.stop(running.child)

    @contextmanager
    def _reporting(self, number: int, leg: Leg) -> Iterator[None]:
        """A leg that fails is a result, with its reason; the others go on."""
        try:
            yield
        except (RuntimeError, OSError, HTTPException, subprocess.SubprocessError) as error:
            self._add(number, leg, [Row("failed", None, "", errors=1, note=" ".join(str(error).split())[-300:])])

    def _workplace(self, leg: Leg) -> Workplace:
        return Workplace(self.children, Path(tempfile.mkdtemp(dir=self.folder, prefix=leg.name)), self.upstreams)

    def _add(self, number: int, leg: Leg, rows: Sequence[Row]) -> None:
        for row in rows:
            self.writer.add(number, leg.name, row)
            value = "-" if row.value is None else f"{row.value:,.3f}"
            errors = f"  {row.errors} errors" if row.errors else ""
            print(f"  {number:>2} {leg.name:<8} {row.metric:<20} {value:>14} {row.unit}{errors} {row.note}", flush=True)


def start_mocks(children: Children, folder: Path, stream_s: float) -> Upstreams:
    """The three mock upstreams, all on the load core."""
    static = StaticMock(free_port(), free_port())
    children.start("mock-static", static.write_configuration(folder / "static"), core=LOAD_CORE)
    paced = free_port()
    command: list[str | Path] = [
        *(sys.executable, BENCH / "mock" / "paced.py", "--port", str(paced)),
        *("--events-per-second", str(EVENTS_PER_S), "--seconds", str(stream_s)),
    ]
    children.start("mock-paced", command, core=LOAD_CORE)
    return Upstreams({PLAIN: static.plain_port, BURST: static.burst_port, PACED: paced})


def end_on_termination() -> None:
    """Let SIGTERM and SIGINT unwind the stack, so that every child is ended, also in a background job."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def run(options: argparse.Namespace, out: Path) -> None:
    """Measure and write the raw results to ``out``."""
    chosen = [LEGS[name]() for name in options.legs.split(",")]
    windows = QUICK if options.quick else Windows()
    if not options.no_install:
        peers.install_wanted({leg.name for leg in chosen})
    facts = environment.describe()
    with (
        tempfile.TemporaryDirectory(prefix="byom-bench-") as scratch,
        Children(Path(scratch)) as children,
        results.writing(out) as writer,
    ):
        present = []
        for leg in chosen:
            if reason := leg.missing():
                print(f"{leg.name}: not available: {reason}")
                writer.add(results.ALL_ROUNDS, leg.name, Row("missing", None, "", note=reason))
            else:
                present.append(leg)
                facts[f"leg {leg.name}"] = leg.version() or "-"
        folder = Path(scratch)
        upstreams = start_mocks(children, folder, windows.stream_s)
        bench = Bench(present, windows, writer, children, Bodies(folder), upstreams, folder)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            bench.speed_round(number)
        for number in range(options.stream_rounds):
            print(f"streams, round {number + 1} of {options.stream_rounds}", flush=True)
            bench.stream_round(number)
        if any(leg.name == "byom" for leg in present):
            for row in startup.import_times(options.imports):
                writer.add(results.ALL_ROUNDS, "byom", row)
    facts |= {"rounds": str(options.rounds), "windows": str(windows)}
    results.write_environment(out, facts)


def main() -> int:
    """Parse, run, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short windows, two rounds, not kept")
    parser.add_argument("--legs", default=",".join(LEGS), help="comma-separated: " + ", ".join(LEGS))
    parser.add_argument("--rounds", type=int, help="default 7; quick 2")
    parser.add_argument("--stream-rounds", type=int, help="default 3; quick 1")
    parser.add_argument("--imports", type=int, default=15, help="fresh interpreters for the import time")
    parser.add_argument("--out", type=Path, help="default bench/results; quick: a new temporary folder")
    parser.add_argument(
        "--readme",
        type=Path,
        help="its marked table is replaced; default: the project's, when results are kept",
    )
    parser.add_argument("--no-install", action="store_true", help="use only the peers that are installed")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.stream_rounds = options.stream_rounds or (1 if options.quick else 3)
    if obstacles := environment.obstacles():
        print("cannot measure here: " + "; ".join(obstacles), file=sys.stderr)
        return 1
    environment.raise_open_file_limit()
    os.sched_setaffinity(0, {LOAD_CORE})
    end_on_termination()
    out = options.out or (Path(tempfile.mkdtemp(prefix="byom-bench-quick-")) if options.quick else BENCH / "results")
    try:
        run(options, out)
    except KeyboardInterrupt:
        print(f"stopped; what was measured is in {out / results.MEASUREMENTS}.part", file=sys.stderr)
        return 130
    report.publish(out, options.readme or (report.README if out == BENCH / "results" else None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
