"""Questions to the ledger. None takes a second with ten million rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, func, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine

from byom.errors import BadRequest
from byom.ledger.reports import CallFilter, CallPage, Traffic, UsageLine, row_of
from byom.ledger.table import COUNTERS, HOUR, SUMS, calls, usage_hourly

By = Literal["model", "key", "user", "connection", "day", "hour"]
LONGEST_PAGE = 1000
_HOURS_A_DAY = 24
_SPLIT = 10**9
"""Money is added up in two parts, so that a sum larger than 64 bits stays exact."""


class LedgerQueries:
    """Reads the tables of the ledger; times are microseconds since the epoch, UTC."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def usage(
        self, by: By, since: int | None = None, until: int | None = None, where: CallFilter | None = None
    ) -> list[UsageLine]:
        """Calls from ``since`` (included) to ``until`` (excluded), added up; the largest sums of money first, days and
        hours in order. Of ``where``, the key, user, connection, model and state count."""
        source = _usage_source(since, until)
        group: ColumnElement[Any]
        if by in ("day", "hour"):
            group = source.c.hour // _HOURS_A_DAY if by == "day" else source.c.hour
        else:
            group = source.c[by]
        wanted = [] if where is None else [source.c[name] == value for name, value in where.equalities().items()]
        statement = select(group.label("name"), *_totals(source)).where(*wanted).group_by(group)
        async with self._engine.connect() as connection:
            found = (await connection.execute(statement)).mappings().all()
        lines = [_usage_line(by, dict(each)) for each in found]
        if by in ("day", "hour"):
            return sorted(lines, key=lambda line: line.name)
        return sorted(lines, key=lambda line: (-line.cost, -line.calls, line.name))

    async def calls(self, limit: int = 50, cursor: str | None = None, where: CallFilter | None = None) -> CallPage:
        """One page of calls, newest first. Raises `BadRequest` for a cursor that is not from here."""
        if not 1 <= limit <= LONGEST_PAGE:
            raise BadRequest(f"limit is from 1 to {LONGEST_PAGE}, not {limit}", param="limit")
        where = where or CallFilter()
        conditions = [calls.c[name] == value for name, value in where.equalities().items()]
        if where.state is not None and where.state != "ok":
            conditions.append(calls.c.state != "ok")  # lets the partial index be used
        conditions += _between(where.since, where.until)
        if cursor is not None:
            at, last = _parse(cursor)
            conditions += [calls.c.at <= at, or_(calls.c.at < at, calls.c.id < last)]
        statement = select(calls).where(*conditions).order_by(calls.c.at.desc(), calls.c.id.desc()).limit(limit + 1)
        async with self._engine.connect() as connection:
            if where.user is not None or where.connection is not None:
                # No index has these: look no further back than the hourly sums say is needed.
                oldest = await connection.scalar(_oldest_hour(where, limit, cursor))
                statement = statement.where(calls.c.at >= (oldest or 0) * HOUR)
                if oldest is None:
                    return CallPage([], None)
            found = (await connection.execute(statement)).mappings().all()
        rows = [row_of(dict(each)) for each in found[:limit]]
        more = len(found) > limit
        return CallPage(rows, f"{rows[-1].at}-{rows[-1].id}" if more else None)

    async def call(self, request_id: str) -> CallPage:
        """The call with this id: a page of one row or of none."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(select(calls).where(calls.c.id == request_id))).mappings().all()
        return CallPage([row_of(dict(each)) for each in found], None)

    async def spent(self, by: Literal["key", "user", "connection", "model"], name: str, since: float) -> int:
        """Picodollars since ``since`` (seconds since the epoch, the begin of an hour). Unknown costs count nothing."""
        hourly = usage_hourly
        statement = select(*_money(hourly.c.cost)).where(hourly.c.hour >= int(since) // 3600, hourly.c[by] == name)
        async with self._engine.connect() as connection:
            high, low = (await connection.execute(statement)).one()
        return int(high) * _SPLIT + int(low)

    async def traffic(self, since: int) -> list[Traffic]:
        """Calls that were let in since ``since``, for rebuilding windows after a restart: one line a second."""
        second = calls.c.at // 1_000_000
        groups = (calls.c.key, calls.c.user, calls.c.connection, calls.c.model)
        tokens = func.sum(calls.c.prompt_tokens + calls.c.completion_tokens)
        statement = (
            select(*groups, func.max(calls.c.at), func.count(), tokens)
            .where(calls.c.at >= since, calls.c.state.not_in(("refused", "cached")))
            .group_by(*groups, second)
        )
        async with self._engine.connect() as connection:
            return [
                Traffic(key, user, by, model, int(at), int(count), int(tokens))
                for key, user, by, model, at, count, tokens in await connection.execute(statement)
            ]


def _oldest_hour(where: CallFilter, limit: int, cursor: str | None) -> Select[Any]:
    """The hour, going back, by which there are enough such calls for a page; null when there are none at all."""
    hourly = usage_hourly
    conditions = [hourly.c[name] == value for name, value in where.equalities().items()]
    # The newest hour may be cut by the cursor or by `until`, so its calls do not count.
    ends = [time for time in (where.until, None if cursor is None else _parse(cursor)[0]) if time is not None]
    newest = min(ends) // HOUR if ends else None
    counted = hourly.c.calls if newest is None else case((hourly.c.hour < newest, hourly.c.calls), else_=0)
    if newest is not None:
        conditions.append(hourly.c.hour <= newest)
    hours = (
        select(hourly.c.hour, func.sum(counted).label("calls")).where(*conditions).group_by(hourly.c.hour).subquery()
    )
    before = func.sum(hours.c.calls).over(order_by=hours.c.hour.desc()) - hours.c.calls
    running = select(hours.c.hour, before.label("before")).subquery()
    return select(func.min(running.c.hour)).where(running.c.before <= limit)


def _usage_source(since: int | None, until: int | None) -> FromClause:
    """Whole hours from the hourly sums; the hours that are cut in two from the calls themselves."""
    first = None if since is None else -(-since // HOUR)
    last = None if until is None else until // HOUR
    hourly = usage_hourly
    columns = [hourly.c[name] for name in ("hour", "key", "user", "connection", "model", "state", *COUNTERS)]
    whole = select(*columns)
    if first is not None:
        whole = whole.where(hourly.c.hour >= first)
    if last is not None:
        whole = whole.where(hourly.c.hour < last)
    parts: list[Select[Any]] = [whole]
    if since is not None and until is not None and first is not None and last is not None and first > last:
        return _part_of_hour(since, until).subquery()  # both in the same hour
    if since is not None and first is not None and since < first * HOUR:
        parts.append(_part_of_hour(since, first * HOUR))
    if until is not None and last is not None and last * HOUR < until:
        parts.append(_part_of_hour(last * HOUR, until))
    return union_all(*parts).subquery()


def _part_of_hour(since: int, until: int) -> Select[Any]:
    """Calls between two times, in the columns of `usage_hourly`."""
    unpriced = case((and_(calls.c.cost.is_(None), calls.c.state != "refused"), 1), else_=0)
    return (
        select(
            (calls.c.at // HOUR).label("hour"),
            *(calls.c[name] for name in ("key", "user", "connection", "model", "state")),
            func.count().label("calls"),
            func.sum(unpriced).label("unpriced_calls"),
            func.sum(case((calls.c.estimated, 1), else_=0)).label("estimated_calls"),
            func.sum(func.coalesce(calls.c.cost, 0)).label("cost"),
            *(func.sum(calls.c[name]).label(name) for name in SUMS),
        )
        .where(calls.c.at >= since, calls.c.at < until)
        .group_by("hour", *(calls.c[name] for name in _NAMES))
    )


_NAMES = ("key", "user", "connection", "model", "state")


def _totals(source: FromClause) -> Iterable[ColumnElement[Any]]:
    for name in COUNTERS:
        if name != "cost":
            yield func.sum(source.c[name]).label(name)
    refused = source.c.state == "refused"
    failed = source.c.state.in_(("error", "cancelled"))
    yield func.sum(case((refused, source.c.calls), else_=0)).label("refused_calls")
    yield func.sum(case((failed, source.c.calls), else_=0)).label("failed_calls")
    high, low = _money(source.c.cost)
    yield high.label("cost_high")
    yield low.label("cost_low")


def _money(column: ColumnElement[Any]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return func.coalesce(func.sum(column // _SPLIT), 0), func.coalesce(func.sum(column % _SPLIT), 0)


def _usage_line(by: By, found: dict[str, Any]) -> UsageLine:
    cost = int(found.pop("cost_high")) * _SPLIT + int(found.pop("cost_low"))
    name = found.pop("name")
    if by == "day":
        name = datetime.fromtimestamp(int(name) * 86_400, UTC).strftime("%Y-%m-%d")
    elif by == "hour":
        name = datetime.fromtimestamp(int(name) * 3600, UTC).strftime("%Y-%m-%dT%H:00Z")
    return UsageLine(name=name, cost=cost, **{key: int(value) for key, value in found.items()})


def _between(since: int | None, until: int | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(calls.c.at >= since)
    if until is not None:
        conditions.append(calls.c.at < until)
    return conditions


def _parse(cursor: str) -> tuple[int, str]:
    at, _, last = cursor.partition("-")
    if not at.isdecimal() or not at.isascii() or len(at) > 18 or not last or len(last) > 200:
        raise BadRequest("this cursor is not one of ours: use the one that came with a page", param="cursor")
    return int(at), last
