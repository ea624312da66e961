"""Deletes old calls, a few at a time. The hourly sums stay: usage of any time can still be told."""

from __future__ import annotations

import asyncio

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from byom.ledger.table import calls

BATCH = 1000
PAUSE_SECONDS = 0.05


async def delete_before(engine: AsyncEngine, before: int, *, batch: int = BATCH, pause: float = PAUSE_SECONDS) -> int:
    """Delete calls older than ``before`` (microseconds since the epoch). Returns how many there were.

    One short transaction for each ``batch``, with a ``pause`` between, so that writers are not kept waiting.
    """
    oldest = select(calls.c.seq).where(calls.c.at < before).order_by(calls.c.at).limit(batch)
    total = 0
    while True:
        async with engine.begin() as connection:
            deleted = (await connection.execute(delete(calls).where(calls.c.seq.in_(oldest)))).rowcount
        total += deleted
        if deleted < batch:
            return total
        await asyncio.sleep(pause)
