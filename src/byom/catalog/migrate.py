"""The database's schema: made at first, brought up to date later. Alembic is imported when there is work for it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from byom.catalog import tables
from byom.catalog.store import Store
from byom.errors import ConfigError
from byom.ledger.table import metadata as ledger_metadata

REVISIONS = ("0001", "0002")
"""Every revision, oldest first; a test holds this to the scripts in ``migrations/versions``."""
HEAD = REVISIONS[-1]


async def migrate(store: Store) -> None:
    """Bring the schema to `HEAD`. Safe when many processes do it at once; an older SQLite file is copied aside first.

    Raises `ConfigError` when the database was made by a newer version of the program.
    """
    async with store.reading() as connection:
        if await _stored_revision(connection) == HEAD:
            return
    async with store.changing() as connection:  # others wait here, and then find the work done
        stored = await _stored_revision(connection)
        if stored == HEAD:
            return
        if stored is None:
            await connection.run_sync(_create)
            return
        if stored not in REVISIONS:
            raise ConfigError(
                f"the database is of a newer version of BYOM (schema {stored}, this program knows {HEAD}). "
                "Install that version, or restore the copy that it made before its migration.",
                param="database_url",
            )
        if store.path is not None:
            await asyncio.to_thread(_copy_aside, store.path, stored)
        await connection.run_sync(_upgrade)


async def _stored_revision(connection: AsyncConnection) -> str | None:
    """The schema's revision; ``None`` for a database without one."""
    if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
        return None
    found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _create(connection: Connection) -> None:
    """A new schema in one go; a test holds it to be the same as that of all migrations one after the other."""
    tables.metadata.create_all(connection)
    ledger_metadata.create_all(connection)
    connection.execute(tables.revision.insert(), {"id": 1, "value": 0})
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{HEAD}')")  # noqa: S608 - our own constant


def _copy_aside(path: Path, revision: str) -> None:
    """A consistent copy, while the write lock is held by our own transaction that has written nothing yet."""
    target = path.with_name(f"{path.name}.before-{HEAD}-was-{revision}")
    partial = target.with_name(target.name + ".part")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    partial.chmod(0o600)
    partial.replace(target)


def config(connection: Connection | None = None) -> Any:
    """Alembic's configuration for the scripts in this package."""
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.attributes["connection"] = connection
    return configuration


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(config(connection), "head")
