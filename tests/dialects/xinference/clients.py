"""The unmodified ``xinference-client`` of three ages, each in a folder of its own with what it needs."""

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

import pytest

from tests.dialects.older_clients import folder_of

PROGRAM = Path(__file__).with_name("program.py")
SERIES = (0, 1, 4)
"""0.16, 1.16 and the current one."""
SINCE_1 = pytest.mark.parametrize("xinference", [1, 4], indirect=True)
SINCE_4 = pytest.mark.parametrize("xinference", [4], indirect=True)
ANSWER_SECONDS = 120.0


class ClientError(Exception):
    """What the client raised. ``kind``: the name of its class."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


class XinferenceClient:
    """Runs code with one release of the client, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], series: int) -> None:
        self._process = process
        self.series = series

    def run(self, code: str, **given: Any) -> Any:
        """What the code returns, through JSON. Raises `ClientError` with what it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"code": code, "given": given}) + "\n")
        self._process.stdin.flush()
        guard = threading.Timer(ANSWER_SECONDS, self._process.kill)
        guard.start()
        try:
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        assert line, "the program of the client ended"
        answer = json.loads(line)
        if "kind" in answer:
            raise ClientError(answer["text"], answer["kind"])
        return answer["result"]


@contextmanager
def xinference_client(series: int) -> Iterator[XinferenceClient]:
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "NO_PROXY": "*", "PYTHONPATH": str(folder_of(f"xinference-{series}"))},
    )
    with process:
        try:
            yield XinferenceClient(process, series)
        finally:
            process.kill()
