"""Rows into SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from byom.ledger.sink import SinkRejected, SinkUnavailable, hourly_upsert, quoted, values
from byom.ledger.table import COLUMNS

ROWS_PER_STATEMENT = 50
"""Many rows a statement: SQLite works through them while other threads of this process run."""
BUSY_MILLISECONDS = 2000

_ROW = f"({', '.join('?' * len(COLUMNS))})"
_INSERT = f"INSERT INTO calls ({quoted(COLUMNS)}) VALUES "  # noqa: S608  only names of columns
_KEEP = " ON CONFLICT (id) DO NOTHING"
_INSERT_ONE = _INSERT + _ROW + _KEEP
_INSERT_MANY = _INSERT + ", ".join([_ROW] * ROWS_PER_STATEMENT) + _KEEP
_ADD_UP = hourly_upsert("calls WHERE seq > ?")


class SqliteSink:
    """Uses the standard library's driver: a tenth of what a row costs through an asynchronous one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def write(self, payloads: Sequence[bytes]) -> None:
        try:
            database = self._open()
            # The lock is taken at the start, so all rows above `before` are those of this transaction.
            database.execute("BEGIN IMMEDIATE")
            try:
                (before,) = database.execute("SELECT coalesce(max(seq), 0) FROM calls").fetchone()
                self._insert(database, payloads)
                database.execute(_ADD_UP, (before,))
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise SinkUnavailable(str(error)) from error
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise SinkRejected(str(error)) from error

    def _insert(self, database: sqlite3.Connection, payloads: Sequence[bytes]) -> None:
        whole = len(payloads) - len(payloads) % ROWS_PER_STATEMENT
        for start in range(0, whole, ROWS_PER_STATEMENT):
            flat: list[Any] = []
            for payload in payloads[start : start + ROWS_PER_STATEMENT]:
                flat += values(payload)
            database.execute(_INSERT_MANY, flat)
        database.executemany(_INSERT_ONE, [values(payload) for payload in payloads[whole:]])

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_MILLISECONDS / 1000)
            database.execute("PRAGMA journal_mode = WAL")
            # The spool forgets rows once they are committed, so a commit must survive a power failure.
            database.execute("PRAGMA synchronous = FULL")
            self._database = database
        return self._database

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
