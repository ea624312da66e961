"""Where the writer puts rows: one implementation for each database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from byom.ledger.row import Row
from byom.ledger.table import COLUMNS, COUNTERS, GROUPS, HOUR, SUMS

_decode = msgspec.msgpack.Decoder().decode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_json = msgspec.json.Encoder().encode
_ATTEMPT_LIST = COLUMNS.index("attempt_list")


class SinkUnavailable(Exception):
    """The database cannot take rows now: locked, away, full, or without its tables. Try the same rows again later."""


class SinkRejected(Exception):
    """The database does not take at least one of these rows, and never will."""


class Sink(Protocol):
    """Belongs to the writer's thread, so it may block."""

    def write(self, payloads: Sequence[bytes]) -> None:
        """Insert the rows that are not there yet and add them to the hourly sums, in one transaction.

        Raises `SinkUnavailable` or `SinkRejected`; nothing is written then.
        """

    def close(self) -> None: ...


def values(payload: bytes) -> list[Any]:
    """The column values of one spooled row, also of a spool that an older release wrote."""
    fields: list[Any] = _decode(payload)
    if len(fields) != len(COLUMNS):
        row = _decode_row(payload)
        fields = [getattr(row, name) for name in COLUMNS]
    if fields[_ATTEMPT_LIST] is not None:
        fields[_ATTEMPT_LIST] = _json(fields[_ATTEMPT_LIST]).decode()
    return fields


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def hourly_upsert(source: str) -> str:
    """Adds the rows of ``source`` (a FROM clause, with its WHERE) to the hourly sums.

    Ordered, so that several writers lock the same rows in the same order.
    """
    sums = ", ".join(f'CAST(sum("{name}") AS BIGINT)' for name in SUMS)
    grow = ", ".join(f'"{name}" = usage_hourly."{name}" + excluded."{name}"' for name in COUNTERS)
    return f"""
        INSERT INTO usage_hourly ({quoted((*GROUPS, *COUNTERS))})
        SELECT "at" / {HOUR}, {quoted(GROUPS[1:])}, count(*),
            sum(CASE WHEN "cost" IS NULL AND "state" <> 'refused' THEN 1 ELSE 0 END),
            sum(CASE WHEN "estimated" THEN 1 ELSE 0 END),
            CAST(sum(coalesce("cost", 0)) AS BIGINT), {sums}
        FROM {source}
        GROUP BY 1, 2, 3, 4, 5, 6
        ORDER BY 1, 2, 3, 4, 5, 6
        ON CONFLICT ({quoted(GROUPS)}) DO UPDATE SET {grow}
    """  # noqa: S608  only names of columns
