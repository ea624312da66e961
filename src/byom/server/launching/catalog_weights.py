"""Launched models in the catalog: how a launch is stored, and what the keeper of engines asks of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from byom.catalog import connections, models
from byom.catalog.edits import convert_form
from byom.catalog.forms import ConnectionForm, ModelForm
from byom.catalog.snapshot import Ability
from byom.errors import NotFound
from byom.server.launching.request import LaunchRequest
from byom.server.launching.seam import Plan

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog
    from byom.catalog.state import ConnectionRow, State
    from byom.gateway.gateway import Gateway
    from byom.types.target import Target

log = logging.getLogger("byom.server")
KIND = "weights"
_ABILITIES = frozenset(get_args(Ability))


class CatalogWeights:
    """A `byom.server.launching.seam.Source` in the process that has the catalog."""

    def __init__(self, catalog: Catalog, gateway: Gateway) -> None:
        self._catalog = catalog
        self._gateway = gateway

    async def plans(self) -> list[Plan]:
        return stored(self._catalog)

    def publish(self, connection: str, target: Target | None) -> None:
        self._catalog.set_runtime_target(connection, target)

    async def activity(self, connections: Sequence[str]) -> dict[str, tuple[int, float | None]]:
        return {name: self._gateway.activity(name) for name in connections}


def stored(catalog: Catalog) -> list[Plan]:
    """The plans of all launched models that are enabled, the oldest first."""
    found = []
    state = catalog.state
    for row in sorted(state.connections.values(), key=lambda one: one.created_at):
        if row.kind == KIND and row.enabled and state.models_of(row.id):
            try:
                found.append(plan_of(row))
            except msgspec.ValidationError as error:
                log.error("the launch %s cannot be read: %s", row.name, error)
    return found


def plan_of(row: ConnectionRow) -> Plan:
    """Raises ``msgspec.ValidationError``."""
    return msgspec.convert({**row.options, "uid": row.name}, Plan)


def options_of(plan: Plan) -> dict[str, Any]:
    """A plan as the options of its connection: just as they come back from the database, lists and all."""
    options: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plan))
    del options["uid"]
    request = options["request"]
    default = msgspec.json.decode(msgspec.json.encode(LaunchRequest(model_name="")))
    options["request"] = {name: value for name, value in request.items() if value != default[name] or name == "n_gpu"}
    return options


async def add(catalog: Catalog, plan: Plan, *, actor: str) -> None:
    """The connection and its model, both or none. Raises `Conflict` when the name is taken."""
    async with catalog.change(actor) as tx:
        form = ConnectionForm(name=plan.uid, kind="weights", options=options_of(plan))
        row = connections.create(tx, form)
        abilities = frozenset(_ABILITIES.intersection(plan.abilities)) or None
        models.create(tx, ModelForm(
            name=plan.uid, connection=row.name, abilities=abilities, context_window=plan.context_length,
            dimensions=plan.dimensions,
        ))  # fmt: skip


async def change(catalog: Catalog, plan: Plan, *, actor: str) -> None:
    """Store a launch as it is to be from now on. Raises `NotFound`."""
    async with catalog.change(actor) as tx:
        row = require(tx.state, plan.uid)
        fields = connections.plain_fields(row) | {"options": options_of(plan)}
        form = convert_form(ConnectionForm, fields, "connection")
        connections.replace(tx, row, form, row.headers, {})


def require(state: State, uid: str) -> ConnectionRow:
    """The row of a launched model. Raises `NotFound`."""
    row = state.connection(uid)
    if row is None or row.kind != KIND:
        raise NotFound(f"Model not found in the model list, uid: {uid}", code="model_not_running", param="uid")
    return row


def taken(state: State, uid: str) -> bool:
    """Whether a connection or a model has this name."""
    return state.connection(uid) is not None or state.model(uid) is not None
