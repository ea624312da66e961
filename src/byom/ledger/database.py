"""Database URLs, as the setting has them and as the drivers want them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url

from byom.errors import ConfigError

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def async_url(url: str) -> URL:
    """The URL with its asynchronous driver. Raises `ConfigError` for databases other than SQLite and PostgreSQL."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend not in ASYNC_DRIVERS:
        raise ConfigError(f"the database must be sqlite or postgresql, not {backend}")
    return parsed.set(drivername=ASYNC_DRIVERS[backend])


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL; ``None`` for another database. Raises `ConfigError` for one in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("the ledger needs a database in a file: one in memory cannot be shared with its writer")
    return Path(parsed.database)
