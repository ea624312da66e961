"""How the last calls of models went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Select, select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine

from byom.ledger.table import calls

LOOKED_AT = 10
"""Calls of each model that are looked at."""
_MODELS_A_QUESTION = 50
"""A statement of SQLite may have at most 500 parts."""
_FAULT = 500
"""From this status on it was not the caller's fault."""


async def recent(engine: AsyncEngine, models: Sequence[str]) -> dict[str, list[bool]]:
    """By model, whether each of its last calls was answered, newest first; without an entry: nothing is known.

    What says nothing of the model's server is left out: calls that were refused, cancelled, answered from the cache,
    or wrong by themselves.
    """
    found: dict[str, list[bool]] = {}
    names = iter(models)
    async with engine.connect() as connection:
        while some := list(islice(names, _MODELS_A_QUESTION)):
            for model, state, status in await connection.execute(union_all(*_newest(some))):
                if state == "ok" or (state == "error" and status >= _FAULT):
                    found.setdefault(model, []).append(state == "ok")
    return found


def _newest(models: Sequence[str]) -> Iterator[Select[Any]]:
    for number, name in enumerate(models):
        newest = (
            select(calls.c.model, calls.c.state, calls.c.status, calls.c.at)
            .where(calls.c.model == name)
            .order_by(calls.c.at.desc())
            .limit(LOOKED_AT)
            .subquery(f"newest{number}")
        )
        yield select(newest.c.model, newest.c.state, newest.c.status)
