"""How long a gateway takes to be of use, and how long ``import byom`` takes."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time

from bodies import Bodies, ask
from legs.leg import PLAIN, Running
from mock.answers import ANSWER_TEXT
from processes import child_environment
from row import Row

_POLL_S = 0.005


def wait_until_ready(running: Running, bodies: Bodies, timeout_s: float = 120.0) -> Row:
    """Seconds from process start to the first right answer through the gateway; raises ``RuntimeError`` without one."""
    target, body = running.target(PLAIN), bodies.path(PLAIN).read_bytes()
    started_at = running.child.started_at if running.child else time.monotonic()
    last: object = "no answer"
    while time.monotonic() < started_at + timeout_s:
        try:
            status, answer = ask(target, body)
            if status == 200 and ANSWER_TEXT.encode() in answer:
                return Row("ready", time.monotonic() - started_at, "s", samples=1)
            last = (status, answer[:300])
        except (OSError, http.client.HTTPException) as error:
            last = error
        if running.child and running.child.process.poll() is not None:
            raise RuntimeError(f"ended before it was ready: {running.child.log_tail()}")
        time.sleep(_POLL_S)
    raise RuntimeError(f"not ready after {timeout_s} s: {last}")


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
