"""Hosts of code as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

USER_CODE = Path(__file__).parent / "user_code"


class Running:
    """One front; its token is ``secret``."""

    def __init__(self, arguments: tuple[str, ...] = (), scheme: str = "http", **config: Any) -> None:
        self.config = {"target": "odd", "contract": "odd_models:load", **config}
        command = [sys.executable, "-m", "byom.host.code", "--token-stdin", "--configuration-stdin", *arguments]
        env = {**os.environ, "PYTHONPATH": str(USER_CODE)}
        self.errors = b""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, start_new_session=True
        )
        self.process.stdin.write(b"secret\n" + json.dumps(self.config).encode() + b"\n")
        self.process.stdin.flush()
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.headers = {"Authorization": "Bearer secret"}

    def client(self, **settings: Any) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
        headers = {**self.headers, **settings.pop("headers", {})}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60, limits=limits, **settings)

    def stop(self) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture
def host() -> Iterator[Callable[..., Running]]:
    """Starts a host with a configuration."""
    running: list[Running] = []

    def start(**settings: Any) -> Running:
        running.append(Running(**settings))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def fields(content: str, model: str = "sync", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


async def ask(http: httpx2.AsyncClient, content: str, model: str = "sync", **more: Any) -> httpx2.Response:
    return await http.post("/v1/chat/completions", json=fields(content, model, **more))


def text_of(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code >= 400, answer.text
    return answer.json()["error"]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> None:
    """Waits for a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"process {pid} goes on"
    finally:
        os.close(descriptor)


async def status(http: httpx2.AsyncClient) -> dict[str, Any]:
    return (await http.get("/readyz")).json()


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of an awaitable condition."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)
        return found
