"""How long the ledger keeps single calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from byom.ledger.ledger import Ledger
from byom.server import retention
from byom.server.hub import Hub
from byom.settings import Settings, load_settings
from tests.ledger.rows import row
from tests.server.processes import until

DAY = 24 * 3600


@pytest.fixture
async def hub(tmp_path: Path, database_url: str) -> AsyncIterator[Hub]:
    """On SQLite and on PostgreSQL."""
    async with Hub.session(Settings(home=tmp_path, database_url=database_url)) as hub:
        yield hub


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hub does after half a minute and then each hour, it does at once and all the time."""
    monkeypatch.setattr(retention, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(retention, "EVERY_SECONDS", 0.01)


def aged(days: float, now: float) -> int:
    return int((now - days * DAY) * 1_000_000)


async def left(ledger: Ledger) -> list[str]:
    return sorted(one.model for one in (await ledger.calls()).rows)


async def test_calls_older_than_so_many_days_are_deleted_and_their_sums_stay(hub: Hub) -> None:
    now = time.time()
    for name, days in (("old", 40.0), ("older", 400.0), ("edge", 29.9), ("new", 0.0)):
        hub.ledger.append(row(model=name, at=aged(days, now), cost=1000))
    assert await left(hub.ledger) == ["edge", "new", "old", "older"]
    before = await hub.ledger.usage("model")
    assert await retention.delete_older(hub.ledger, 30, now) == 2
    assert await left(hub.ledger) == ["edge", "new"]
    assert await hub.ledger.usage("model") == before
    assert sum(line.cost for line in before) == 4000
    assert await retention.delete_older(hub.ledger, 30, now) == 0


async def test_an_hour_is_deleted_whole_or_not_at_all(hub: Hub) -> None:
    noon = 1_800_000_000 // 3600 * 3600
    for minute in (1, 30, 59):
        hub.ledger.append(row(model=f"m{minute}", at=(noon + 60 * minute) * 1_000_000))
    await hub.ledger.flush()
    assert await retention.delete_older(hub.ledger, 1, noon + DAY + 40 * 60) == 0
    assert await retention.delete_older(hub.ledger, 1, noon + DAY + 3600) == 3


@pytest.mark.usefixtures("soon")
async def test_a_hub_forgets_by_itself_only_where_it_was_told_to(tmp_path: Path) -> None:
    for days, kept in ((0, ["new", "old"]), (7, ["new"])):
        settings = Settings(home=tmp_path / str(days), ledger_days=days)
        settings.home.mkdir(mode=0o700)
        async with Hub.session(settings) as hub:
            for name, age in (("old", 8.0), ("new", 6.0)):
                hub.ledger.append(row(model=name, at=aged(age, time.time())))
            running = [task.get_name() for task in asyncio.all_tasks()]
            assert ("retention of the ledger" in running) is bool(days)

            async def as_told(ledger: Ledger = hub.ledger, kept: list[str] = kept) -> bool:
                return await left(ledger) == kept

            await until(as_told)


@pytest.mark.usefixtures("soon")
async def test_a_database_that_fails_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    class Failing:
        async def delete_before(self, before: int) -> int:
            asked.append(before)
            raise OSError("gone")

    task = asyncio.create_task(retention.keep_days(Failing(), 1))  # type: ignore[arg-type]
    await until(lambda: len(asked) >= 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "could not be deleted" in caplog.text


def test_for_ever_is_the_default_and_a_variable_sets_the_days(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert load_settings(environ={"BYOM_HOME": home}).ledger_days == 0
    assert load_settings(environ={"BYOM_HOME": home, "BYOM_LEDGER_DAYS": "90"}).ledger_days == 90
