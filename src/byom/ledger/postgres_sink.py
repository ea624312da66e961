"""Rows into PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, Integer
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from byom.ledger.database import async_url
from byom.ledger.sink import SinkRejected, SinkUnavailable, hourly_upsert, quoted, values
from byom.ledger.table import COLUMNS, calls

STATEMENT_SECONDS = 20.0


def _array(name: str) -> str:
    kind = calls.c[name].type
    if isinstance(kind, Boolean):
        return "boolean[]"
    if isinstance(kind, BigInteger):
        return "bigint[]"
    return "integer[]" if isinstance(kind, Integer) else "text[]"


_ARRAYS = ", ".join(f"${number}::{_array(name)}" for number, name in enumerate(COLUMNS, 1))
# One statement: what is added up is what was really inserted, however many hubs write the same rows at once.
_WRITE = f"""
    WITH added AS (
        INSERT INTO calls ({quoted(COLUMNS)}) SELECT * FROM unnest({_ARRAYS}) ON CONFLICT (id) DO NOTHING
        RETURNING *
    )
    {hourly_upsert("added")}
"""  # noqa: S608  only names and types of columns


class PostgresSink:
    """Uses an event loop of its own: the gateway's does not see these writes."""

    def __init__(self, url: str) -> None:
        self._url = async_url(url)
        self._runner: asyncio.Runner | None = None
        self._engine: AsyncEngine | None = None

    def write(self, payloads: Sequence[bytes]) -> None:
        columns = [list(column) for column in zip(*map(values, payloads), strict=True)]
        try:
            self._insert(columns)
        except SinkRejected:
            clean = [list(map(_without_nul, column)) for column in columns]
            if clean == columns:
                raise
            self._insert(clean)

    def _insert(self, columns: list[list[Any]]) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._engine = create_async_engine(self._url, pool_size=1, max_overflow=0, pool_pre_ping=False)
        try:
            self._runner.run(self._write(columns))
        except (OperationalError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
            raise SinkUnavailable(str(error)) from error
        except DBAPIError as error:
            if _is_about_data(error):
                raise SinkRejected(str(error.orig)) from error
            raise SinkUnavailable(str(error.orig)) from error

    async def _write(self, columns: list[list[Any]]) -> None:
        assert self._engine is not None
        async with asyncio.timeout(STATEMENT_SECONDS), self._engine.begin() as connection:
            await connection.exec_driver_sql(_WRITE, tuple(columns))

    def close(self) -> None:
        if self._runner is not None:
            if self._engine is not None:
                self._runner.run(self._engine.dispose())
            self._runner.close()
            self._runner = None


def _without_nul(value: Any) -> Any:
    """PostgreSQL's texts cannot hold the character NUL; SQLite's and JSON's can."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _is_about_data(error: DBAPIError) -> bool:
    """SQLSTATE class 22 (data exception) or 23 (constraint), or a value that the driver cannot encode."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state[:2] in {"22", "23"} if isinstance(state, str) else "DataError" in type(error.orig).__name__
