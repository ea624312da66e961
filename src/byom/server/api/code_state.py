"""How the processes of code are, for the answers of the management API."""

from __future__ import annotations

from byom.errors import Unavailable
from byom.server.api.schemas.code import HostState
from byom.server.api.services import Hub

COLD = HostState(state="cold", reason="", since=None, restarts=0, models=[])


async def of(hub: Hub, connection: str) -> HostState:
    """Of a connection whose models are code."""
    row = hub.catalog.state.connection(connection)
    if row is not None and not row.enabled:
        return COLD.model_copy(update={"state": "disabled"})
    found = (await hub.code.states()).get(connection)
    return COLD if found is None else HostState.of(found)


async def failing(hub: Hub) -> frozenset[str]:
    """Connections whose code cannot be run now; none where nobody can say."""
    if not any(row.kind == "code" for row in hub.catalog.state.connections.values()):
        return frozenset()
    try:
        states = await hub.code.states()
    except Unavailable:
        return frozenset()
    return frozenset(name for name, found in states.items() if found.state == "failed")
