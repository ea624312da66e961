"""One row of the ledger."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "error", "cancelled", "refused", "cached"]


class Attempt(msgspec.Struct, array_like=True, gc=False):
    """One try at an upstream: which connection and model, what came of it, how long it took."""

    connection: str
    model: str
    status: int
    """HTTP status; 0 where none arrived."""
    error: str
    """Error code such as ``upstream_timeout``; empty on success."""
    milliseconds: float


class Row(msgspec.Struct, array_like=True, gc=False):
    """What is kept of one call. New fields go at the end, with a default, so that old spools still read.

    Durations are microseconds, ``at`` is microseconds since the epoch (UTC), ``cost`` picodollars
    (``None``: the price is not known).
    """

    id: str
    """The request id, unique over all hubs."""
    at: int
    key: str
    """Public id of the caller's key; empty with ``--no-auth``."""
    user: str
    connection: str
    model: str
    """The name that the caller used, resolved to the catalog's name."""
    upstream_model: str
    route: str
    """Path below ``/v1``, for example ``chat/completions``."""
    status: int
    """HTTP status that the caller got, 499 when the caller went away."""
    state: State
    error: str = ""
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cost: int | None = None
    price_version: str = ""
    latency: int = 0
    first_token: int | None = None
    """Time to first token; ``None`` where no token arrived."""
    overhead: int = 0
    """Time that the hub added: latency less waiting for the upstream and for limits."""
    waited: int = 0
    """Time spent waiting for a limit."""
    attempts: int = 1
    attempt_list: list[Attempt] | None = None
    """Kept only when there was more than one attempt."""
    upstream_id: str = ""
    """The answer's own id (``chatcmpl-…``, ``resp_…``)."""
    origin: str = "gateway"
    """What made the call: ``gateway``, ``library``, ``probe``, ``evaluation``, ``concepts``."""
    request_id: str = ""
    """The caller's own ``x-request-id``, where it sent one; otherwise empty, and ``id`` is the request id."""
