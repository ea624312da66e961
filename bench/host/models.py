"""User code that the host is measured with."""

from __future__ import annotations

import time


def answer(_model: object, _prompt: str) -> tuple[str, tuple[int, int]]:
    """The least that a function can do."""
    return "an answer", (10, 2)


def blocking(_model: object, _prompt: str) -> tuple[str, tuple[int, int]]:
    """A synchronous client that waits 50 ms."""
    time.sleep(0.05)
    return "an answer", (10, 2)


async def blocking_async(_model: object, _prompt: str) -> tuple[str, tuple[int, int]]:
    """A synchronous client inside ``async def``."""
    time.sleep(0.05)  # noqa: ASYNC251 - what is measured
    return "an answer", (10, 2)
