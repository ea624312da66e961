"""The measurements of one started leg. Each returns rows; a window with errors has no speed and no latency."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from driver.wrk import Load, drive
from legs.leg import BURST, PACED, PLAIN, Running, Target
from mock.answers import ANSWER_TEXT, EVENTS_PER_ANSWER
from processes import GATEWAY_CORE, child_environment, core_busy_seconds, run_on_load_core

CONNECTIONS = 32
_READY_POLL_S = 0.005
_STREAM_DRIVER = Path(__file__).parent / "driver" / "streams.py"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value. ``value`` is ``None`` where errors or losses leave nothing to quote."""

    metric: str
    value: float | None
    unit: str
    errors: int = 0
    samples: int = 0
    window_s: float = 0.0
    gateway_cpu: float | None = None  # cores the gateway used during the window
    foreign_cpu: float | None = None  # share of the gateway's core that others took during the window
    note: str = ""


@dataclass(frozen=True, slots=True)
class Windows:
    """How long each measurement lasts, seconds, and how large the stream run is."""

    throughput_s: float = 6.0
    latency_s: float = 4.0
    warm_up_s: float = 2.0
    streams: int = 2000
    stream_s: float = 20.0
    stream_deadline_s: float = 75.0


@dataclass(slots=True)
class _Watch:
    gateway_cpu: float | None = None
    foreign_cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Bodies:
    """The request bodies, written once per run."""

    folder: Path
    paths: dict[str, Path] = field(default_factory=dict)

    def path(self, model: str) -> Path:
        """File with the request for ``model``: plain for one, streaming with usage for the others."""
        if model not in self.paths:
            self.paths[model] = self.folder / f"{model}.json"
            self.paths[model].write_text(json.dumps(_request(model)))
        return self.paths[model]


def _request(model: str) -> dict[str, object]:
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 128,
    }
    if model != PLAIN:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return request


def ask(target: Target, body: bytes, timeout_s: float = 30.0) -> tuple[int, bytes]:
    """One request with the standard library: status and whole body. Raises ``OSError`` or ``HTTPException``."""
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "application/json", **target.headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until_ready(running: Running, bodies: Bodies, timeout_s: float = 120.0) -> Row:
    """Seconds from process start to the first correct answer through the gateway."""
    target, body = running.target(PLAIN), bodies.path(PLAIN).read_bytes()
    started_at = running.child.started_at if running.child else time.monotonic()
    last: object = "no answer"
    while (now := time.monotonic()) < started_at + timeout_s:
        try:
            status, answer = ask(target, body)
            if status == 200 and ANSWER_TEXT.encode() in answer:
                return Row("ready", time.monotonic() - started_at, "s", samples=1)
            last = (status, answer[:300])
        except (OSError, http.client.HTTPException) as error:
            last = error
        if running.child and running.child.process.poll() is not None:
            raise RuntimeError(f"ended before it was ready: {running.child.log_tail()}")
        time.sleep(_READY_POLL_S - (time.monotonic() - now) % _READY_POLL_S)
    raise RuntimeError(f"not ready after {timeout_s} s: {last}")


def throughput(running: Running, bodies: Bodies, windows: Windows, *, slow: bool) -> list[Row]:
    """Requests per second of the small completion, 32 connections, closed loop."""
    load, watch = _closed_loop(running, PLAIN, bodies, CONNECTIONS, _window(windows.throughput_s, slow))
    return [_speed("requests_per_s", load, watch, load.per_second)]


def answers(running: Running, bodies: Bodies, windows: Windows, *, slow: bool) -> list[Row]:
    """Streamed answers and events per second, 32 connections; every event of a checked answer counts once."""
    status, body = ask(running.target(BURST), bodies.path(BURST).read_bytes())
    events = body.count(b"data: ")
    if status != 200 or events != EVENTS_PER_ANSWER or not body.rstrip().endswith(b"data: [DONE]"):
        note = f"status {status}, {events} of {EVENTS_PER_ANSWER} events in the checked answer"
        return [Row(metric, None, "1/s", errors=1, note=note) for metric in ("sse_answers_per_s", "sse_events_per_s")]
    load, watch = _closed_loop(running, BURST, bodies, CONNECTIONS, _window(windows.throughput_s, slow))
    return [
        _speed("sse_answers_per_s", load, watch, load.per_second),
        _speed("sse_events_per_s", load, watch, load.per_second * events),
    ]


def latency(running: Running, bodies: Bodies, windows: Windows, *, slow: bool) -> list[Row]:
    """p50 and p99 of the small completion at one connection, milliseconds."""
    load, watch = _closed_loop(running, PLAIN, bodies, 1, _window(windows.latency_s, slow))
    return [
        _speed("p50_ms", load, watch, load.p50_us / 1000, unit="ms"),
        _speed("p99_ms", load, watch, load.p99_us / 1000, unit="ms"),
    ]


def added_latency(direct: list[Row], through: list[Row]) -> list[Row]:
    """Gateway minus direct, of two windows measured one after the other."""
    rows = []
    for near, far in zip(direct, through, strict=True):
        known = near.value is not None and far.value is not None
        value = far.value - near.value if near.value is not None and far.value is not None else None
        note = "" if known else "a window had errors"
        rows.append(
            Row(f"added_{far.metric}", value, "ms", near.errors + far.errors, far.samples, far.window_s, note=note)
        )
    return rows


def streams(running: Running, bodies: Bodies, windows: Windows, events_per_s: float) -> list[Row]:
    """Many paced streams at once: events lost, lateness, and the gateway's processor time and memory."""
    target = running.target(PACED)
    command: list[str | Path] = [
        *(sys.executable, _STREAM_DRIVER, "--url", target.url, "--body", bodies.path(PACED)),
        *("--streams", str(windows.streams), "--events", str(round(events_per_s * windows.stream_s))),
        *("--deadline", str(windows.stream_deadline_s)),
        *(word for name, value in target.headers.items() for word in ("--header", f"{name}: {value}")),
    ]
    with _watching(running) as watch:
        figures = json.loads(run_on_load_core(command, timeout_s=windows.stream_deadline_s + 60))
    faulty = figures["streams"] - figures["perfect"]
    note = json.dumps(figures["faults"]) if figures["faults"] else ""

    def row(metric: str, value: float | None, unit: str) -> Row:
        samples = figures["events_received"]
        return Row(
            metric, value, unit, faulty, samples, figures["elapsed_s"], watch.gateway_cpu, watch.foreign_cpu, note
        )

    def when_clean(value: float) -> float | None:
        return value if not faulty else None

    rows = [
        row("streams_open", figures["most_open"], "streams"),
        row("streams_perfect", figures["perfect"], "streams"),
        row("stream_events_lost", figures["events_lost"], "events"),
    ]
    if figures["late_p50_us"] is not None:
        rows.append(row("stream_late_p50_ms", when_clean(figures["late_p50_us"] / 1000), "ms"))
        rows.append(row("stream_late_p99_ms", when_clean(figures["late_p99_us"] / 1000), "ms"))
    if running.child:
        rows.append(row("stream_gateway_cpu", watch.gateway_cpu, "cores"))
        rows.append(row("resident_mb", running.child.resident_bytes() / 1e6, "MB"))
    return rows


def import_times(count: int) -> list[Row]:
    """Milliseconds of ``import byom`` in ``count`` fresh interpreters, byte code cached."""
    program = "import time; a = time.perf_counter(); import byom; print(1000 * (time.perf_counter() - a))"
    times = []
    for _ in range(count + 1):
        finished = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=child_environment()
        )
        times.append(float(finished.stdout))
    warm = times[1:]  # the first one may have compiled the byte code
    return [
        Row("import_ms_min", min(warm), "ms", samples=count),
        Row("import_ms_median", statistics.median(warm), "ms", samples=count),
    ]


def warm_up(running: Running, bodies: Bodies, windows: Windows) -> None:
    """Load without measuring, so that pools are filled and code is hot."""
    _closed_loop(running, PLAIN, bodies, CONNECTIONS, windows.warm_up_s)


def _window(seconds: float, slow: bool) -> float:
    return 2 * seconds if slow else seconds


def _speed(metric: str, load: Load, watch: _Watch, value: float, unit: str = "1/s") -> Row:
    clean = load.errors == 0 and load.requests > 0
    note = "" if clean else f"{load.errors} errors beside {load.requests} answers"
    errors = load.errors if load.requests else max(load.errors, 1)
    shares = (watch.gateway_cpu, watch.foreign_cpu)
    return Row(metric, value if clean else None, unit, errors, load.requests, load.duration_s, *shares, note)


def _closed_loop(running: Running, model: str, bodies: Bodies, connections: int, seconds: float) -> tuple[Load, _Watch]:
    target = running.target(model)
    with _watching(running) as watch:
        load = drive(target.url, bodies.path(model), target.headers, connections=connections, duration_s=seconds)
    return load, watch


@contextmanager
def _watching(running: Running) -> Iterator[_Watch]:
    """Take the gateway's processor time, and what others used of its core, over the block."""
    watch = _Watch()
    busy, own, start = core_busy_seconds(GATEWAY_CORE), _cpu(running), time.monotonic()
    yield watch
    seconds = time.monotonic() - start
    used = _cpu(running) - own
    watch.gateway_cpu = round(used / seconds, 3)
    watch.foreign_cpu = round(max(0.0, core_busy_seconds(GATEWAY_CORE) - busy - used) / seconds, 3)


def _cpu(running: Running) -> float:
    return running.child.cpu_seconds() if running.child else 0.0
