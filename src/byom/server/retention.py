"""Forgets single calls of long ago, in the background. The hourly sums stay, so usage and budgets do not change."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from byom.ledger.table import HOUR

if TYPE_CHECKING:
    from byom.ledger.ledger import Ledger

log = logging.getLogger("byom.server")
FIRST_SECONDS = 30.0
"""After the start, when there is other work to do."""
EVERY_SECONDS = 3600.0
_DAY = 24 * HOUR


async def keep_days(ledger: Ledger, days: int) -> None:
    """Until cancelled: delete what is older than so many days, at least 1. A database that fails is asked again."""
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            await delete_older(ledger, days, time.time())
        except (SQLAlchemyError, OSError) as error:
            log.warning("old calls could not be deleted: %s", type(error).__name__)
        await asyncio.sleep(EVERY_SECONDS)


async def delete_older(ledger: Ledger, days: int, now: float) -> int:
    """Delete the calls of whole hours that ended ``days`` before ``now`` (seconds since the epoch). How many."""
    oldest = (int(now * 1_000_000) - days * _DAY) // HOUR * HOUR
    deleted = await ledger.delete_before(oldest)
    if deleted:
        log.info("%d calls older than %d days were deleted from the ledger", deleted, days)
    return deleted
