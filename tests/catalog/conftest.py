from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from byom.catalog.catalog import Catalog
from byom.settings import Settings

Opener = Callable[[], Awaitable[Catalog]]
ME = "key:me"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(home=tmp_path, database_url=database_url)


@pytest.fixture
def local_settings(tmp_path: Path) -> Settings:
    """SQLite alone, for what has nothing to do with the database."""
    return Settings(home=tmp_path)


@pytest.fixture
async def opener(settings: Settings) -> AsyncIterator[Opener]:
    """Opens one more view of the same database, as another process would have it."""
    opened: list[Catalog] = []

    async def open_another() -> Catalog:
        opened.append(await Catalog.open(settings))
        return opened[-1]

    yield open_another
    for catalog in opened:
        await catalog.close()


@pytest.fixture
async def catalog(opener: Opener) -> Catalog:
    return await opener()


@pytest.fixture
async def local(local_settings: Settings) -> AsyncIterator[Catalog]:
    """A catalog on SQLite alone."""
    catalog = await Catalog.open(local_settings)
    yield catalog
    await catalog.close()
