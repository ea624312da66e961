"""Between the limiter, which knows scopes, and the ledger, which knows keys, users, connections and models by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from byom.limits.local import Past

if TYPE_CHECKING:
    from byom.catalog.snapshot import Snapshot
    from byom.catalog.state import State
    from byom.ledger.reports import Traffic
    from byom.types.limits import Scope

LONGEST_RESTORED = 24 * 3600.0
"""Seconds. Calls longer ago than this are not counted again in windows after a restart."""
Column = Literal["key", "user", "connection", "model"]


def known(state: State, scope: str) -> bool:
    """Whether this process has heard of what the scope belongs to."""
    kind, _, id_ = scope.partition(":")
    if kind == "model":
        return id_ in state.models
    if kind == "connection":
        return id_ in state.connections
    return kind != "user" or id_ in state.users


def column_of(state: State, scope: str) -> tuple[Column, str]:
    """The ledger's column and value for a scope such as ``model:3f…``."""
    kind, _, id_ = scope.partition(":")
    if kind == "model":
        return "model", state.models[id_].name
    if kind == "connection":
        return "connection", state.connections[id_].name
    if kind == "user":
        return "user", state.users[id_].name
    return "key", "" if kind == "anonymous" else id_


def scopes_of(snapshot: Snapshot) -> dict[str, Scope]:
    """Every scope that has limits, by id."""
    found = {scope.id: scope for route in snapshot.models for scope in route.scopes}
    return found | {scope.id: scope for key in snapshot.keys.values() for scope in key.scopes}


def budgeted(snapshot: Snapshot) -> list[Scope]:
    return [scope for scope in scopes_of(snapshot).values() if scope.limits.budgets]


def longest_window(snapshot: Snapshot) -> float:
    """Seconds; 0 where there is no window."""
    scopes = scopes_of(snapshot).values()
    return max((window.seconds for scope in scopes for window in scope.limits.windows), default=0.0)


def past(state: State, traffic: list[Traffic]) -> Iterator[Past]:
    """What the limiter counts again, in each scope that a call belongs to."""
    models = {row.name: row.id for row in state.models.values()}
    connections = {row.name: row.id for row in state.connections.values()}
    users = {row.name: row.id for row in state.users.values()}
    for one in traffic:
        owners = (
            ("key", one.key),
            ("user", users.get(one.user, "")),
            ("model", models.get(one.model, "")),
            ("connection", connections.get(one.connection, "")),
        )
        for kind, id_ in owners:
            if id_:
                yield Past(f"{kind}:{id_}", one.at, one.tokens, one.calls)
