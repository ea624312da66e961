"""The ledger of one process: append at once, write in batches, ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from byom.errors import Unavailable
from byom.ledger.database import async_url, sqlite_path
from byom.ledger.postgres_sink import PostgresSink
from byom.ledger.queries import By, LedgerQueries
from byom.ledger.recent import recent
from byom.ledger.reports import CallFilter, CallPage, Traffic, UsageLine
from byom.ledger.retention import delete_before
from byom.ledger.row import Row
from byom.ledger.sink import Sink
from byom.ledger.spool import SEGMENT_BYTES, Spool
from byom.ledger.sqlite_sink import SqliteSink
from byom.ledger.table import metadata
from byom.ledger.writer import SpoolKeeper, Writer

FLUSH_SECONDS = 5.0


class Gauges(msgspec.Struct, frozen=True):
    """How the ledger is, for metrics."""

    spooled: int
    """Rows appended since the start."""
    written: int
    """Of these, rows that are in the database."""
    recovered: int
    """Rows taken over from processes that had ended."""
    rejected: int
    """Rows that the database would not take; they are in ``rejected.jsonl``."""
    spool_bytes: int
    accepting: bool
    failure: str | None
    """Why the database takes no rows now."""

    @property
    def lag(self) -> int:
        """Rows that are not in the database yet."""
        return self.spooled - self.written


class Ledger:
    """Rows go to ``folder`` at once and to the database of ``url`` soon.

    ``engine`` is used for questions; without it the ledger makes its own. The tables must exist (`create_tables` makes
    them where no migration does). `append` may be called from `start` on, on the event loop's thread.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        engine: AsyncEngine | None = None,
        sync_seconds: float = 1.0,
        segment_bytes: int = SEGMENT_BYTES,
        mapped: bool | None = None,
    ) -> None:
        self._url = url
        self._folder = folder
        self._own_engine = engine is None
        self.engine = engine or create_async_engine(async_url(url), hide_parameters=True)
        self.queries = LedgerQueries(self.engine)
        self._sync_seconds = sync_seconds
        self._segment_bytes = segment_bytes
        self._mapped = mapped
        self._store: Callable[[Row], None] = _closed
        self._spool: Spool | None = None
        self._writer: Writer | None = None
        self._keeper: SpoolKeeper | None = None

    async def create_tables(self) -> None:
        """Make the ledger's tables where they are missing: for a library without the hub's migrations."""
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def start(self) -> None:
        """Open the spool and begin to write; rows of processes that were killed are taken over first."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        path = sqlite_path(self._url)
        sink: Sink = PostgresSink(self._url) if path is None else SqliteSink(path)
        self._spool = Spool(self._folder, segment_bytes=self._segment_bytes, mapped=self._mapped)
        self._store = self._spool.append
        self._writer = Writer(self._spool, sink, self._folder)
        self._keeper = SpoolKeeper(self._spool, sync_seconds=self._sync_seconds)
        self._writer.start()
        self._keeper.start()

    def append(self, row: Row) -> None:
        """Store one row: ``kill -9`` cannot lose it when this returns. Raises `SpoolFull` when the disk is full."""
        self._store(row)

    @property
    def accepting(self) -> bool:
        """Whether there is room for rows. When not, refuse new calls (503); those under way still have theirs."""
        return self._spool is not None and self._spool.accepting

    async def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Wait until everything appended so far is in the database; ``False`` when that took longer than ``timeout``.

        Rows of other processes come within the quarter of a second in which they write.
        """
        if self._writer is None or self._spool is None:
            return True
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def reached() -> None:
            loop.call_soon_threadsafe(_resolve, done)

        self._writer.notify(self._spool.appended, reached)
        try:
            await asyncio.wait_for(done, timeout)
        except TimeoutError:
            return False
        return True

    async def recover(self, timeout: float = 60.0) -> int:
        """Wait until the rows of processes that were killed are in the database. Returns how many there were.

        Raises `Unavailable` when the database does not take them in time.
        """
        if not await self.flush(timeout) or self._writer is None:
            raise Unavailable(f"the ledger's rows could not be written: {self.gauges().failure or 'it takes longer'}")
        return self._writer.recovered

    async def stop(self, timeout: float = 10.0) -> None:
        """Write what is left and let go of the files. What the database does not take stays for the next start."""
        try:
            if self._writer is not None and self._keeper is not None and self._spool is not None:
                await asyncio.to_thread(self._close, timeout)
        finally:
            if self._own_engine:
                await self.engine.dispose()

    def _close(self, timeout: float) -> None:
        assert self._writer is not None
        assert self._keeper is not None
        assert self._spool is not None
        self._keeper.stop()
        self._keeper.join(timeout)
        self._writer.stop()
        self._writer.join(timeout)
        drained = not self._writer.is_alive() and self._writer.written == self._spool.appended
        if not self._writer.is_alive():
            self._spool.close(drained=drained)
        self._store = _closed

    def gauges(self) -> Gauges:
        spool, writer = self._spool, self._writer
        if spool is None or writer is None:
            return Gauges(0, 0, 0, 0, 0, accepting=False, failure=None)
        return Gauges(
            spool.appended,
            writer.written,
            writer.recovered,
            writer.rejected,
            spool.bytes_used,
            spool.accepting,
            writer.failure,
        )

    async def usage(
        self, by: By, since: int | None = None, until: int | None = None, where: CallFilter | None = None
    ) -> list[UsageLine]:
        """See `LedgerQueries.usage`. Includes what was appended just now."""
        await self.flush()
        return await self.queries.usage(by, since, until, where)

    async def calls(self, limit: int = 50, cursor: str | None = None, where: CallFilter | None = None) -> CallPage:
        """See `LedgerQueries.calls`. Includes what was appended just now."""
        await self.flush()
        return await self.queries.calls(limit, cursor, where)

    async def spent(self, by: Literal["key", "user", "connection", "model"], name: str, since: float) -> int:
        """See `LedgerQueries.spent`. Raises `Unavailable` when not everything is in the database yet."""
        if not await self.flush():
            raise Unavailable("what was spent is not in the database yet")
        return await self.queries.spent(by, name, since)

    async def traffic(self, since: int) -> list[Traffic]:
        """See `LedgerQueries.traffic`."""
        await self.flush()
        return await self.queries.traffic(since)

    async def recent(self, models: Sequence[str]) -> dict[str, list[bool]]:
        """See `recent.recent`. Includes what was appended just now."""
        await self.flush()
        return await recent(self.engine, models)

    async def delete_before(self, before: int) -> int:
        """See `retention.delete_before`."""
        return await delete_before(self.engine, before)


def _closed(row: Row) -> None:
    raise Unavailable(f"the ledger is not open: the row of {row.id} cannot be stored")


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


@asynccontextmanager
async def opened(ledger: Ledger) -> AsyncIterator[Ledger]:
    """Start, and stop in the end."""
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.stop()
