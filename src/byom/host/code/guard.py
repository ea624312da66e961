"""Watches what workers take: memory and processes, with everything that they have started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from byom.host.code.worker import Worker
from byom.host.worker import tree

_OFTEN = 0.25
_SELDOM = 2.0
_FAR = 1.25


class OnOver(Protocol):
    def __call__(self, worker: Worker, reason: str, *, far: bool) -> None: ...


class Guard:
    """Says which worker is over a limit; ``far`` when it cannot be given time."""

    def __init__(self, workers: Callable[[], list[Worker]], on_over: OnOver) -> None:
        self._workers = workers
        self._on_over = on_over
        self._task = asyncio.get_running_loop().create_task(self._run()) if tree.available() else None

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            workers = self._workers()
            limited = any(worker.config.memory_mb is not None for worker in workers)
            await asyncio.sleep(_OFTEN if limited else _SELDOM)
            keepers = {pid: worker for worker in workers if (pid := worker.process.keeper) is not None}
            taken = await asyncio.to_thread(_measure, list(keepers))
            for pid, (count, size) in taken.items():
                worker = keepers[pid]
                worker.memory = size
                if worker.alive:
                    self._judge(worker, count, size)

    def _judge(self, worker: Worker, count: int, size: int) -> None:
        limit = worker.config.memory_mb
        if count > worker.config.max_processes:
            self._on_over(
                worker, f"it had {count} processes, of {worker.config.max_processes} that it may have", far=True
            )
        elif limit is not None and size > limit * 2**20:
            reason = f"it used {size // 2**20} MiB of memory, of {limit} that it may use"
            self._on_over(worker, reason, far=size > limit * 2**20 * _FAR)


def _measure(keepers: list[int]) -> dict[int, tuple[int, int]]:
    """Processes and bytes below each keeper."""
    family = tree.children()
    below = {keeper: tree.below(keeper, family) for keeper in keepers}
    return {keeper: (len(pids), tree.memory(pids)) for keeper, pids in below.items()}
