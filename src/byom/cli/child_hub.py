"""A hub in a process of its own, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from byom.errors import Unavailable

READY = "BYOM serves at "
_STOP_SECONDS = 10.0


@contextlib.contextmanager
def child_hub(home: Path, *flags: str, start_timeout: float = 20.0) -> Iterator[str]:
    """Run ``byom serve`` on a free port; gives its URL once it takes calls, and stops it in the end.

    No ``BYOM_*`` variable of this process reaches it. Raises `Unavailable` with its output when it does not start.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BYOM_")}
    environ["BYOM_HOME"] = str(home)
    log = home / "serve.log"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    command: Sequence[str] = (sys.executable, "-m", "byom", "serve", "--port", "0", *flags)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True
        )
    # A hub that neither gets ready nor ends is ended, so that reading its output ends too.
    overdue = threading.Timer(start_timeout, process.kill)
    overdue.start()
    try:
        yield _url(process, log, overdue)
    finally:
        overdue.cancel()
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _url(process: subprocess.Popen[str], log: Path, overdue: threading.Timer) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY):
            overdue.cancel()
            return line.removeprefix(READY).strip()
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    raise Unavailable(f"The hub did not start: {tail or 'it said nothing'}")
