"""Rows for the tests."""

from __future__ import annotations

from typing import Any

from byom.ledger.request_id import new_id
from byom.ledger.row import Row

AT = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z


def row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "id": new_id(), "at": AT, "key": "ab12", "user": "ada", "connection": "c", "model": "m",
        "upstream_model": "m-1", "route": "chat/completions", "status": 200, "state": "ok",
        "prompt_tokens": 10, "completion_tokens": 5, "cost": 1000, "latency": 2000,
    }  # fmt: skip
    return Row(**(values | changes))
