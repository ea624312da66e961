"""Runs code with the unmodified client of another system, in a process of its own: one line of JSON each way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class ClientProgram:
    """``seconds``: the longest that an answer may take; then the program is ended."""

    def __init__(self, process: subprocess.Popen[str], seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    def ask(self, **given: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        guard = threading.Timer(self._seconds, self._process.kill)
        guard.start()
        try:
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        assert line, "the program of the client ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def client_program(program: Path, *, folder: Path | None, seconds: float) -> Iterator[ClientProgram]:
    """``folder``: where the client's release is; ``None`` for the one of this environment."""
    place = {} if folder is None else {"PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-P", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "NO_PROXY": "*", **place},
    )
    with process:
        try:
            yield ClientProgram(process, seconds)
        finally:
            process.kill()
