"""What the host costs: ``python bench/host/run.py [--out FOLDER]`` writes ``host.csv``.

Overhead is the time of a call over the wire, through front and worker and back, beside the same function called
directly; throughput is calls a second with 1, 8 and 64 at once. 100 calls at once of functions that block 50 ms show
whether blocking code runs side by side: with 32 threads none needs less than 200 ms. ``first`` has the loading of the
code in it.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import models  # noqa: E402 - found by the line above
from client import Client  # noqa: E402

_TOKEN = "bench"
_FIELDS = ("time", "case", "metric", "value", "unit", "calls", "errors")


@contextmanager
def host(function: str, **config: object) -> Iterator[int]:
    """The port of a host that serves a function of `models`."""
    command = [sys.executable, "-m", "byom.host.code", "--token-stdin", "--configuration-stdin"]
    document = {"target": f"{HERE / 'models.py'}:{function}", **config}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{_TOKEN}\n{json.dumps(document)}\n".encode())
    process.stdin.flush()
    try:
        yield int(json.loads(process.stdout.readline())["port"])
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def direct(calls: int) -> float:
    """Microseconds of one call of the function itself."""
    started = time.perf_counter()
    for _ in range(calls):
        models.answer(None, "What is the answer to everything?")
    return (time.perf_counter() - started) / calls * 1e6


async def measure(seconds: float) -> list[tuple[str, str, float, str, int, int]]:
    """Rows: case, metric, value, unit, calls, errors."""
    rows: list[tuple[str, str, float, str, int, int]] = []
    rows.append(("direct", "mean", direct(200_000), "us", 200_000, 0))
    with host("answer") as port:
        client = Client(port, _TOKEN, "answer")
        await client.window(8, seconds=seconds / 4)
        for at_once in (1, 8, 64):
            found = await client.window(at_once, seconds=seconds)
            case, count = f"{at_once} at once", len(found.latencies)
            rows += [
                (case, "calls", count / found.seconds, "1/s", count, found.errors),
                (case, "p50", found.quantile(0.5) * 1e3, "ms", count, found.errors),
                (case, "p99", found.quantile(0.99) * 1e3, "ms", count, found.errors),
            ]
    for function in ("blocking", "blocking_async"):
        with host(function) as port:
            client = Client(port, _TOKEN, function)
            first = await client.window(100, calls=100)
            again = [await client.window(100, calls=100) for _ in range(5)]
            errors = first.errors + sum(one.errors for one in again)
            rows.append((f"{function}, 100 of 50 ms", "first", first.seconds, "s", 100, errors))
            rows.append(
                (f"{function}, 100 of 50 ms", "median", statistics.median(o.seconds for o in again), "s", 500, errors)
            )
    return rows


def main() -> int:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each window")
    given = parser.parse_args()
    rows = asyncio.run(measure(given.seconds))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "host.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(_FIELDS)
        for case, metric, value, unit, calls, errors in rows:
            table.writerow((now, case, metric, f"{value:.4g}", unit, calls, errors))
            sys.stdout.write(f"{case:32} {metric:8} {value:10.4g} {unit:4} {calls:8} calls {errors} errors\n")
    return 0 if not any(row[5] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
