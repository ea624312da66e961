"""Whether models can be counted on now, by what the hub has seen of them."""

from __future__ import annotations

from collections.abc import Sequence

from byom.catalog.records import Model
from byom.server.api import code_state
from byom.server.api.schemas import model as schemas
from byom.server.api.services import Hub

FAILURES = 3
"""So many calls in a row that failed make a model failing; of fewer calls, all."""


async def with_states(hub: Hub, models: Sequence[Model]) -> list[schemas.Model]:
    """As they are shown, each with its state."""
    shown = [schemas.Model.of(model) for model in models]
    usable = [model for model in shown if model.state == "unknown"]
    if not usable:
        return shown
    circuits = await hub.circuits()
    answered = await hub.ledger.recent([model.name for model in usable])
    failing = await code_state.failing(hub)
    local = {row.name for row in hub.catalog.state.connections.values() if row.kind != "endpoint"}
    for model in usable:
        last = answered.get(model.name, [])[:FAILURES]
        broken = circuits.get(model.connection, "closed") != "closed" or model.connection in failing
        if broken or (last and not any(last)):
            model.state = "failing"
        elif last or model.connection in local:
            model.state = "ready"
    return shown
