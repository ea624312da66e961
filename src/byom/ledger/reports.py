"""What the ledger answers."""

from __future__ import annotations

from typing import Any

import msgspec

from byom.ledger.row import Row


class UsageLine(msgspec.Struct, kw_only=True, frozen=True):
    """Calls added up by one value of what was asked for."""

    name: str
    """A model, key, user or connection; or the begin of a day or hour, as ``2026-03-31`` or ``2026-03-31T13:00Z``."""
    calls: int
    refused_calls: int
    failed_calls: int
    """Calls that ended in an error or were cancelled."""
    unpriced_calls: int
    """Calls whose price is not known: ``cost`` is without them."""
    estimated_calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: int
    """Picodollars, of the calls whose price is known."""
    latency: int
    """Microseconds, the sum over all calls."""


class CallPage(msgspec.Struct, frozen=True):
    """Calls, newest first."""

    rows: list[Row]
    next: str | None
    """Cursor of the next page; ``None`` when this is the last one."""


class CallFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which calls to list; ``None``: all."""

    model: str | None = None
    key: str | None = None
    user: str | None = None
    connection: str | None = None
    state: str | None = None
    since: int | None = None
    """Microseconds since the epoch, included."""
    until: int | None = None
    """Microseconds since the epoch, excluded."""

    def equalities(self) -> dict[str, str]:
        names = ("model", "key", "user", "connection", "state")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Traffic(msgspec.Struct, frozen=True):
    """Calls of one second with the same key, user, connection and model: enough to rebuild a window."""

    key: str
    user: str
    connection: str
    model: str
    at: int
    """Microseconds since the epoch, of the last one."""
    calls: int
    tokens: int


def row_of(values: dict[str, Any]) -> Row:
    """The row as it was appended, from the columns of `calls`."""
    attempts = values["attempt_list"]
    values["attempt_list"] = None if attempts is None else msgspec.json.decode(attempts)
    return msgspec.convert([values[name] for name in Row.__struct_fields__], Row)
