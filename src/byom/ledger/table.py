"""The ledger's tables."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

calls = Table(
    "calls",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False, comment="microseconds since the epoch"),
    Column("key", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost", BigInteger, nullable=True, comment="picodollars; null: the price is not known"),
    Column("price_version", Text, nullable=False),
    Column("latency", BigInteger, nullable=False, comment="microseconds"),
    Column("first_token", BigInteger, nullable=True),
    Column("overhead", BigInteger, nullable=False),
    Column("waited", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("attempt_list", Text, nullable=True, comment="JSON, when there was more than one attempt"),
    Column("upstream_id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("request_id", Text, nullable=False),
)
Index(None, calls.c.at)
Index(None, calls.c.key, calls.c.at)
Index(None, calls.c.model, calls.c.at)
# Calls that went well are nearly all, and need no index by state.
Index(
    "ix_calls_not_ok",
    calls.c.state,
    calls.c.at,
    sqlite_where=calls.c.state != "ok",
    postgresql_where=calls.c.state != "ok",
)

SUMS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "latency",
)
"""Columns of `calls` that `usage_hourly` adds up under the same name."""
GROUPS = ("hour", "key", "user", "connection", "model", "state")
"""What `usage_hourly` has a row for each of."""

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("hour", BigInteger, nullable=False, comment="hours since the epoch"),
    *(Column(name, Text, nullable=False) for name in GROUPS[1:]),
    Column("calls", BigInteger, nullable=False),
    Column("unpriced_calls", BigInteger, nullable=False),
    Column("estimated_calls", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False, comment="picodollars, of the calls whose price is known"),
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    PrimaryKeyConstraint(*GROUPS),
)

COUNTERS = ("calls", "unpriced_calls", "estimated_calls", "cost", *SUMS)
"""Columns of `usage_hourly` that grow."""
COLUMNS = tuple(column.name for column in calls.columns if column.name != "seq")
"""Columns of `calls` that a row fills, in the order of `Row`'s fields."""
HOUR = 3_600_000_000
"""Microseconds."""
