"""The database: an engine for SQLite or PostgreSQL, reading transactions, and one changing transaction at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import event, select, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from byom.catalog import tables
from byom.errors import ConfigError, Conflict, MissingExtra, Unavailable

BUSY_SECONDS = 15
_CHANGE_LOCK = 0x62796F6D  # "byom", the advisory lock of all changes
_CHANGING = "byom_changing"


class Store:
    """Opened once per process. ``engine`` may be shared by others that keep rows in the same database."""

    def __init__(self, url: str) -> None:
        self.url = _driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(self.url, self.is_sqlite)
        self._one_change = asyncio.Lock()

    @property
    def path(self) -> Path | None:
        """The database's file, for SQLite."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    async def prepare(self) -> None:
        """Switch a SQLite file to write-ahead logging; find out whether the database can be reached at all."""
        if self.path is not None:
            await asyncio.to_thread(_prepare_file, self.path)
            return
        from asyncpg import InterfaceError, PostgresError  # type: ignore[import-untyped]

        try:
            async with self.reading():
                pass
        except (Unavailable, OSError, SQLAlchemyError, PostgresError, InterfaceError) as error:
            where = self.url.render_as_string(hide_password=True)
            raise ConfigError(
                f"the database {where} cannot be reached: {error.__cause__ or error}", param="database_url"
            ) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view of the whole database."""
        level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(**level)
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[AsyncConnection]:
        """The only changing transaction among all processes; what it reads is the newest. Rolls back on any error."""
        with translated():
            async with self._one_change, self.engine.connect() as connection:
                await connection.execution_options(**{_CHANGING: True})
                async with connection.begin():
                    if not self.is_sqlite:
                        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHANGE_LOCK})
                    yield connection

    async def revision(self) -> int:
        """The number of changes so far; one cheap statement."""
        with translated():
            async with self.engine.connect() as connection:
                return int(await connection.scalar(select(tables.revision.c.value)) or 0)

    async def close(self) -> None:
        await self.engine.dispose()


class translated:  # noqa: N801 - used like a function: ``with translated():``
    """Foreign database errors become ours. Parameters never show: they may hold what must stay secret."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise Conflict("the change contradicts what is stored") from error
        if isinstance(error, OperationalError) and "locked" in str(error.orig):
            raise Unavailable(
                f"the database was locked by another process for {BUSY_SECONDS} s; try again", retry_after=1.0
            ) from error
        broken = isinstance(error, DBAPIError) and error.connection_invalidated
        if broken or isinstance(error, ConnectionError):
            raise Unavailable("the connection to the database broke; try again", retry_after=1.0) from error


def _driver_url(text_url: str) -> URL:
    try:
        url = make_url(text_url)
    except ArgumentError as error:
        raise ConfigError(
            "database_url cannot be read: write sqlite:///path or postgresql://user:password@host/name",
            param="database_url",
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigError("database_url needs the path of a file: sqlite:///path", param="database_url")
        return url.set(drivername="sqlite+aiosqlite")
    if backend == "postgresql":
        return url.set(drivername="postgresql+asyncpg")
    raise ConfigError("database_url: allowed are sqlite: and postgresql:", param="database_url")


def _engine(url: URL, is_sqlite: bool) -> AsyncEngine:
    options: dict[str, Any] = {
        "hide_parameters": True,
        "json_serializer": lambda value: msgspec.json.encode(value).decode(),
        "json_deserializer": msgspec.json.decode,
        "pool_size": 3 if is_sqlite else 5,
        "max_overflow": 2 if is_sqlite else 5,
    }
    if not is_sqlite:
        options["pool_pre_ping"] = True
    try:
        engine = create_async_engine(url, **options)
    except ModuleNotFoundError as error:
        if error.name == "asyncpg":
            raise MissingExtra("postgres", "A PostgreSQL database") from error
        raise
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_on_begin` says, not where the driver guesses
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    changing = connection.get_execution_options().get(_CHANGING, False)
    # A transaction that begins as a reader and writes later fails at once when another one wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if changing else "BEGIN")


def _prepare_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"the folder {path.parent} cannot be made: {error.strerror or error}; set BYOM_HOME or database_url",
            param="home",
        ) from error
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            path.chmod(0o600)
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                _switch_to_wal(connection)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"the database {path} cannot be opened: {error}", param="database_url") from error


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """The switch wants the file for itself and does not wait for its turn; a write lock taken first does."""
    import time

    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
