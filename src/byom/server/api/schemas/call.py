"""Single calls, as the ledger has them."""

from __future__ import annotations

from pydantic import Field

from byom.ledger import row as ledger
from byom.ledger.row import State
from byom.server.api.money import dollars
from byom.server.api.schemas.fields import Shown

_SAME = (
    "id",
    "key",
    "user",
    "connection",
    "model",
    "upstream_model",
    "route",
    "status",
    "state",
    "error",
    "stream",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "estimated",
    "price_version",
    "attempts",
    "upstream_id",
    "origin",
    "request_id",
)


class Attempt(Shown):
    connection: str
    model: str
    status: int
    error: str
    milliseconds: float


class Call(Shown):
    id: str
    at: float = Field(description="Seconds since the epoch (UTC).")
    key: str
    user: str
    connection: str
    model: str
    upstream_model: str
    route: str
    status: int
    state: State
    error: str
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool = Field(description="No server confirmed the token counts.")
    cost: str | None = Field(description="Dollars, as a decimal string; null where the price is not known.")
    price_version: str
    latency_ms: float
    first_token_ms: float | None
    overhead_ms: float = Field(description="What the hub added.")
    waited_ms: float = Field(description="Waiting for a limit.")
    attempts: int
    attempt_list: list[Attempt] | None
    upstream_id: str
    origin: str
    request_id: str

    @classmethod
    def of_row(cls, row: ledger.Row) -> Call:
        attempts = row.attempt_list
        return cls(
            **{name: getattr(row, name) for name in _SAME},
            at=row.at / 1e6,
            cost=dollars(row.cost),
            latency_ms=row.latency / 1000,
            first_token_ms=None if row.first_token is None else row.first_token / 1000,
            overhead_ms=row.overhead / 1000,
            waited_ms=row.waited / 1000,
            attempt_list=None if attempts is None else [_attempt(one) for one in attempts],
        )


CSV_COLUMNS = tuple(name for name in Call.model_fields if name != "attempt_list")


class Calls(Shown):
    data: list[Call]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


def _attempt(one: ledger.Attempt) -> Attempt:
    names = ("connection", "model", "status", "error", "milliseconds")
    return Attempt(**{name: getattr(one, name) for name in names})
