from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select, text

from byom.errors import BadRequest, Unavailable
from byom.ledger.ledger import Ledger, opened
from byom.ledger.reports import CallFilter
from byom.ledger.row import Attempt, Row
from byom.ledger.spool import Spool
from byom.ledger.table import COLUMNS, HOUR, calls, usage_hourly
from tests.ledger.rows import AT, row

DAY = 24 * HOUR


@pytest.fixture
async def ledger(database_url: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(database_url, tmp_path / "spool", segment_bytes=256 * 1024)
    await ledger.create_tables()
    async with opened(ledger):
        yield ledger


async def count(ledger: Ledger) -> tuple[int, int, int]:
    """Rows, distinct ids, and the calls in the hourly sums."""
    async with ledger.engine.connect() as connection:
        rows, ids = (await connection.execute(select(func.count(), func.count(calls.c.id.distinct())))).one()
        summed = await connection.scalar(select(func.coalesce(func.sum(usage_hourly.c.calls), 0)))
    return rows, ids, int(summed or 0)


def test_the_table_has_the_fields_of_a_row_in_their_order() -> None:
    assert Row.__struct_fields__ == COLUMNS


async def test_rows_come_back_as_they_were(ledger: Ledger) -> None:
    attempts = [Attempt("c", "m", 503, "upstream_overloaded", 12.5), Attempt("d", "m", 200, "", 80.0)]
    rows = [
        row(at=AT + 1, attempts=2, attempt_list=attempts, request_id="mine-1", stream=True, first_token=7),
        row(at=AT + 2, cost=None, estimated=True, state="error", status=502, error="upstream_auth"),
        row(at=AT + 3, model="modèle 模型 🙂", cost=9 * 10**18),
    ]
    for each in rows:
        ledger.append(each)
    page = await ledger.calls()
    assert page.rows == rows[::-1]
    assert page.next is None
    assert (await ledger.queries.call(rows[0].id)).rows == rows[:1]


async def test_the_same_rows_again_change_nothing(ledger: Ledger) -> None:
    rows = [row(at=AT + n) for n in range(300)]
    for each in (*rows, *rows[:120], row(), *rows):
        ledger.append(each)
    await ledger.flush()
    assert await count(ledger) == (301, 301, 301)
    for each in rows:
        ledger.append(each)
    await ledger.flush()
    assert await count(ledger) == (301, 301, 301)


async def test_usage_adds_up_by_each_dimension(ledger: Ledger) -> None:
    for each in (
        row(model="m", key="k1", user="ada", cost=5, at=AT),
        row(model="m", key="k2", user="bob", cost=None, at=AT + DAY),
        row(model="n", key="k1", user="ada", cost=100, at=AT + HOUR, state="cancelled", status=499),
        row(model="n", key="k1", user="ada", cost=None, at=AT + HOUR, state="refused", status=429, prompt_tokens=0),
    ):
        ledger.append(each)
    by_model = {line.name: line for line in await ledger.usage("model")}
    assert list(by_model) == ["n", "m"], "the largest cost first"
    assert (by_model["m"].calls, by_model["m"].cost, by_model["m"].unpriced_calls) == (2, 5, 1)
    assert (by_model["n"].calls, by_model["n"].cost, by_model["n"].unpriced_calls) == (2, 100, 0)
    assert (by_model["n"].refused_calls, by_model["n"].failed_calls) == (1, 1)
    assert by_model["m"].prompt_tokens == 20
    assert {line.name: line.calls for line in await ledger.usage("key")} == {"k1": 3, "k2": 1}
    assert {line.name: line.calls for line in await ledger.usage("user")} == {"ada": 3, "bob": 1}
    assert [(line.name, line.calls) for line in await ledger.usage("day")] == [("2027-01-15", 3), ("2027-01-16", 1)]
    assert [line.name for line in await ledger.usage("hour")] == [
        "2027-01-15T08:00Z", "2027-01-15T09:00Z", "2027-01-16T08:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (None, None), (AT, AT + 3 * HOUR), (AT + 1, None), (None, AT + 3 * HOUR - 1), (AT + 10, AT + 20),
        (AT + 20 * 60_000_000, AT + HOUR + 40 * 60_000_000), (AT + HOUR - 5, AT + HOUR + 5), (AT + 9, AT + 9),
    ],
)  # fmt: skip
async def test_usage_between_any_two_times_is_exact(ledger: Ledger, since: int | None, until: int | None) -> None:
    times = [AT + minute * 60_000_000 + extra for minute in range(0, 240, 7) for extra in (0, 9, 15)]
    for at in times:
        ledger.append(row(at=at, cost=at % 1000))
    inside = [at for at in times if (since is None or at >= since) and (until is None or at < until)]
    lines = await ledger.usage("model", since, until)
    assert sum(line.calls for line in lines) == len(inside)
    assert sum(line.cost for line in lines) == sum(at % 1000 for at in inside)


async def test_sums_of_money_beyond_64_bits_are_exact(ledger: Ledger) -> None:
    for number in range(5):
        ledger.append(row(cost=9 * 10**18 + 7, at=AT + number * HOUR))
    (line,) = await ledger.usage("model")
    assert line.cost == 5 * (9 * 10**18 + 7)
    assert await ledger.spent("key", "ab12", AT / 1e6 + 3600) == 4 * (9 * 10**18 + 7)


async def test_spent_counts_the_period_alone(ledger: Ledger) -> None:
    for hours, cost in ((-1, 1000), (0, 5), (1, None), (30, 70)):
        ledger.append(row(at=AT + hours * HOUR, cost=cost))
    assert await ledger.spent("key", "ab12", AT / 1e6) == 75
    assert await ledger.spent("model", "m", AT / 1e6) == 75
    assert await ledger.spent("key", "other", AT / 1e6) == 0


async def test_paging_gives_every_call_once_even_when_times_are_equal(ledger: Ledger) -> None:
    rows = [row(at=AT + n // 7) for n in range(100)]
    for each in rows:
        ledger.append(each)
    seen: list[str] = []
    cursor = None
    while True:
        page = await ledger.calls(limit=9, cursor=cursor)
        seen += [each.id for each in page.rows]
        ledger.append(row(at=AT + 10**9))  # newer calls do not move the pages that follow
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(each.id for each in rows)


async def test_calls_can_be_filtered(ledger: Ledger) -> None:
    for each in (row(key="k1", at=AT), row(key="k2", at=AT + 5, state="error"), row(model="n", at=AT + 9, user="bob")):
        ledger.append(each)

    async def found(**where: object) -> int:
        return len((await ledger.calls(where=CallFilter(**where))).rows)  # type: ignore[arg-type]

    assert await found(key="k2") == 1
    assert await found(state="error") == 1
    assert await found(state="ok") == 2
    assert await found(model="n", user="bob") == 1
    assert await found(model="n", user="ada") == 0
    assert await found(since=AT + 5) == 2
    assert await found(until=AT + 5) == 1


async def test_paging_with_a_filter_finds_calls_however_far_apart_they_are(ledger: Ledger) -> None:
    rows = [row(at=AT + n * HOUR // 3, user="bob" if n % 11 == 0 else "ada") for n in range(200)]
    for each in rows:
        ledger.append(each)
    for where in (
        CallFilter(user="bob"), CallFilter(user="ada", model="m"), CallFilter(connection="c", until=AT + 20 * HOUR + 1),
        CallFilter(user="bob", since=AT + HOUR),
    ):  # fmt: skip
        seen: list[Row] = []
        cursor = None
        while True:
            page = await ledger.calls(limit=3, cursor=cursor, where=where)
            seen += page.rows
            cursor = page.next
            if cursor is None:
                break
        expected = [
            each for each in rows
            if each.user == (where.user or each.user) and (where.since or 0) <= each.at < (where.until or 2**60)
        ]  # fmt: skip
        assert seen == expected[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "12", "12-", "-3", "9" * 30 + "-a", "\u0661\u0662-a"])
async def test_a_cursor_from_elsewhere_is_the_callers_mistake(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(BadRequest):
        await ledger.calls(cursor=cursor)


async def test_traffic_of_the_last_minutes_rebuilds_windows(ledger: Ledger) -> None:
    for offset, state in ((0, "ok"), (400_000, "error"), (2_000_000, "ok"), (2_000_001, "refused"), (-1, "ok")):
        ledger.append(row(at=AT + offset, state=state))
    lines = sorted(await ledger.traffic(AT), key=lambda line: line.at)
    assert [(line.key, line.at, line.calls, line.tokens) for line in lines] == [
        ("ab12", AT + 400_000, 2, 30), ("ab12", AT + 2_000_000, 1, 15),
    ]  # fmt: skip


async def test_old_calls_are_deleted_and_their_sums_kept(ledger: Ledger) -> None:
    for number in range(250):
        ledger.append(row(at=AT + number))
    await ledger.flush()
    from byom.ledger.retention import delete_before

    assert await delete_before(ledger.engine, AT + 200, batch=30, pause=0.0) == 200
    rows, _, summed = await count(ledger)
    assert (rows, summed) == (50, 250)


async def test_a_row_that_the_database_refuses_is_set_aside_and_the_others_are_written(
    ledger: Ledger, tmp_path: Path
) -> None:
    rows = [row(at=AT + n) for n in range(100)]
    bad = row(latency=2**63)
    for each in (*rows[:37], bad, *rows[37:]):
        ledger.append(each)
    assert await ledger.flush()
    assert await count(ledger) == (100, 100, 100)
    assert ledger.gauges().rejected == 1
    (line,) = (tmp_path / "spool" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["row"]["id"] == bad.id


async def test_nul_characters_do_not_lose_a_row(ledger: Ledger) -> None:
    ledger.append(row(model="m\x00m", cost=3))
    assert [line.cost for line in await ledger.usage("model")] == [3]
    assert ledger.gauges().rejected == 0


def test_a_spool_of_an_older_release_is_still_read() -> None:
    from byom.ledger.sink import values

    fields = msgspec.structs.astuple(row(cost=7))
    assert values(msgspec.msgpack.encode(fields[:19])) == [
        *fields[:19], "", 0, None, 0, 0, 1, None, "", "gateway", "",
    ]  # fmt: skip


async def test_two_processes_writing_the_same_rows_count_them_once(
    ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    rows = [row(at=AT + n, model=f"m{n % 5}") for n in range(2_000)]
    async with opened(Ledger(database_url, tmp_path / "other")) as other:
        for each in rows:
            ledger.append(each)
            other.append(each)
        assert await ledger.flush(20)
        assert await other.flush(20)
    assert await count(ledger) == (2_000, 2_000, 2_000)


async def test_everything_is_written_before_it_stops(database_url: str, tmp_path: Path) -> None:
    ledger = Ledger(database_url, tmp_path / "spool")
    await ledger.create_tables()
    await ledger.start()
    for number in range(5_000):
        ledger.append(row(at=AT + number))
    await ledger.stop()
    assert list((tmp_path / "spool").iterdir()) == []
    with pytest.raises(Unavailable):
        ledger.append(row())
    again = Ledger(database_url, tmp_path / "spool")
    async with opened(again):
        assert await count(again) == (5_000, 5_000, 5_000)


async def test_rows_of_a_killed_process_are_in_the_answers_after_recovery(database_url: str, tmp_path: Path) -> None:
    dead = Spool(tmp_path / "spool")
    for number in range(3_000):
        dead.append(row(at=AT + number, cost=1))
    dead.close(drained=False)
    ledger = Ledger(database_url, tmp_path / "spool")
    await ledger.create_tables()
    async with opened(ledger):
        assert await ledger.recover() == 3_000
        assert await ledger.spent("key", "ab12", AT / 1e6) == 3_000
        assert await count(ledger) == (3_000, 3_000, 3_000)


async def test_appending_does_not_wait_for_a_locked_database(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'byom.db'}", tmp_path / "spool", segment_bytes=128 * 1024)
    await ledger.create_tables()
    async with opened(ledger):
        ledger.append(row())
        await ledger.flush()
        blocker = sqlite3.connect(tmp_path / "byom.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        slowest = 0.0
        for number in range(3_000):
            began = time.perf_counter()
            ledger.append(row(at=AT + number))
            slowest = max(slowest, time.perf_counter() - began)
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        assert not await ledger.flush(3.0)
        gauges = ledger.gauges()
        assert gauges.lag == 3_000
        assert gauges.failure is not None
        assert gauges.accepting
        assert slowest < 1.0  # the database is locked for longer; a busy machine takes its own time
        blocker.execute("ROLLBACK")
        blocker.close()
        assert await ledger.flush(20)
        assert ledger.gauges().failure is None
        assert await count(ledger) == (3_001, 3_001, 3_001)


async def test_rows_wait_for_a_database_that_is_not_ready(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'byom.db'}", tmp_path / "spool")
    async with opened(ledger):
        ledger.append(row())
        assert not await ledger.flush(0.5)
        await ledger.create_tables()
        assert await ledger.flush(10)
        assert await count(ledger) == (1, 1, 1)


async def test_what_could_not_be_written_waits_for_the_next_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'byom.db'}"
    async with opened(Ledger(url, tmp_path / "spool")) as ledger:
        ledger.append(row(cost=8))
    again = Ledger(url, tmp_path / "spool")
    await again.create_tables()
    async with opened(again):
        assert await again.recover() == 1
        assert await again.spent("key", "ab12", AT / 1e6) == 8


async def test_filters_use_an_index_of_sqlite(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'byom.db'}", tmp_path / "spool")
    await ledger.create_tables()
    plans = {
        "key": "SELECT * FROM calls WHERE key = 'a' AND at < 5 ORDER BY at DESC, id DESC LIMIT 50",
        "model": "SELECT * FROM calls WHERE model = 'a' AND at < 5 ORDER BY at DESC, id DESC LIMIT 50",
        "at": "SELECT * FROM calls WHERE at < 5 ORDER BY at DESC, id DESC LIMIT 50",
        "not_ok": "SELECT * FROM calls WHERE state = 'error' AND state <> 'ok' ORDER BY at DESC, id DESC LIMIT 50",
    }
    async with ledger.engine.connect() as connection:
        for name, statement in plans.items():
            plan = " ".join(line[3] for line in await connection.execute(text("EXPLAIN QUERY PLAN " + statement)))
            assert f"ix_calls_{name}" in plan, plan
    await ledger.stop()
