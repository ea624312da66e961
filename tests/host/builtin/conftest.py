"""The built-in models as a process of their own, as BYOM runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest


class Served:
    """One server process; its token is ``secret``."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "byom.host.builtin", "--port", "0", "--token-stdin"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(b"secret\n")
        self.process.stdin.flush()
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.headers = {"Authorization": "Bearer secret"}

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.stop()


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.base_url, api_key="secret", max_retries=0) as made:
        yield made
