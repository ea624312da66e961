"""What the process that holds a hub together and its workers tell each other; see `byom.server.control`."""

from __future__ import annotations

from typing import Any

import msgspec

from byom.limits.local import Past
from byom.settings import Settings
from byom.types.limits import Scope
from byom.types.target import Target

GATHERED = frozenset({"measures", "live", "problems", "ledger"})
"""What a worker may ask of all workers."""


class Start(msgspec.Struct, kw_only=True):
    """What a worker needs to be one. It has it from here alone: neither arguments nor variables carry secrets."""

    settings: Settings
    worker: int
    started_at: float
    """When the hub started, in seconds since the epoch; a worker that is started anew belongs to the same hub."""
    limits: str
    """Path of the socket of the limits' authority."""
    port: int
    builtin: Target | None = None
    code: dict[str, Target] = {}
    """Where the processes of code listen, by connection."""
    url: str = ""
    """Of the hub."""
    owners: list[tuple[str, str]] = []
    """Things at upstreams and whose they are, as the other workers know."""


class CodePlace(msgspec.Struct):
    """Where the process of a connection listens now; ``target`` is ``None`` while it does not."""

    connection: str
    target: Target | None


class CodeSays(msgspec.Struct):
    """What the code of a connection says of its models."""

    connection_id: str
    models: list[dict[str, Any]]


class Before(msgspec.Struct):
    """What limits have to know of the time before the hub's start."""

    calls: list[Past]
    budgeted: list[Scope]


class Spent(msgspec.Struct):
    """The question what a scope spent since then (seconds since the epoch)."""

    scope: str
    since: float
