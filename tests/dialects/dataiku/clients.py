"""The unmodified ``dataiku-api-client``: the current release, and one of the series 14 in a folder of its own."""

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
SERIES = (14, 15)
SINCE_15 = pytest.mark.parametrize("dataiku", SERIES[1:], indirect=True)
"""For what came with release 15."""
ANSWER_SECONDS = 60.0


class ClientError(Exception):
    """What the client raised. ``classes``: the names of its class and of those above it."""

    def __init__(self, text: str, classes: list[str]) -> None:
        super().__init__(text)
        self.classes = classes


class DataikuClient:
    """Runs code with one release of the client, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], series: int) -> None:
        self._process = process
        self.series = series

    def run(self, code: str, *, url: str, key: str) -> Any:
        """What the code returns, through JSON. Raises `ClientError` with what it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"code": code, "url": url, "key": key}) + "\n")
        self._process.stdin.flush()
        guard = threading.Timer(ANSWER_SECONDS, self._process.kill)
        guard.start()
        try:
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        assert line, "the program of the client ended"
        answer = json.loads(line)
        if "classes" in answer:
            raise ClientError(answer["text"], answer["classes"])
        return answer["result"]


@contextmanager
def dataiku_client(series: int) -> Iterator[DataikuClient]:
    environment = {**os.environ, "NO_PROXY": "*"}
    if series == 14:
        environment["PYTHONPATH"] = str(folder_of("dataiku-14"))
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    with process:
        try:
            yield DataikuClient(process, series)
        finally:
            process.kill()
