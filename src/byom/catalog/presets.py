"""Presets: named values of a plugin's parameter sets, for the models of one connection."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from byom.catalog import connections, removal
from byom.catalog.credentials import store_secrets
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import PresetForm
from byom.catalog.names import check_name
from byom.catalog.records import Deletion, Preset
from byom.catalog.state import PresetRow, State
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, Conflict, NotFound

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class Presets:
    """``catalog.presets``. A preset belongs to a connection, and has its name there."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self, connection: str | None = None) -> tuple[Preset, ...]:
        """Raises `NotFound` for a connection that is not there."""
        state = self._catalog.state
        if connection is None:
            return tuple(shown(row, state) for row in state.presets.values())
        return tuple(shown(row, state) for row in state.presets_of(connections.find(state, connection).id))

    def get(self, connection: str, name: str) -> Preset:
        """Raises `NotFound`."""
        state = self._catalog.state
        return shown(find(state, connection, name), state)

    async def create(self, connection: str, form: PresetForm | Mapping[str, Any], *, actor: str) -> Preset:
        """Raises `ConfigError` naming the field, `Conflict` when the name is taken."""
        async with self._catalog.change(actor) as tx:
            row = create(tx, connection, as_form(form))
        return self.get(connection, row.name)

    async def update(self, connection: str, name: str, changes: Mapping[str, Any], *, actor: str) -> Preset:
        """Change some values; ``None`` takes one out. Stored secrets that are not named stay."""
        async with self._catalog.change(actor) as tx:
            update(tx, find(tx.state, connection, name), changes)
        return self.get(connection, name)

    async def delete(self, connection: str, name: str, *, actor: str, dry_run: bool = False) -> Deletion:
        """Delete it with its secrets and what users entered for it."""
        async with self._catalog.change(actor, dry_run=dry_run) as tx:
            plan = removal.preset(tx, find(tx.state, connection, name))
        return msgspec.structs.replace(plan, done=not dry_run)


def find(state: State, connection: str, name: str) -> PresetRow:
    """Raises `NotFound`."""
    parent = connections.find(state, connection)
    for row in state.presets_of(parent.id):
        if row.name == name:
            return row
    there = ", ".join(row.name for row in state.presets_of(parent.id)) or "none"
    raise NotFound(
        f"connection {connection!r} has no preset {name!r}; there are: {there}", code="preset_not_found", param="preset"
    )


def as_form(form: PresetForm | Mapping[str, Any]) -> PresetForm:
    return form if isinstance(form, PresetForm) else convert_form(PresetForm, form, "preset")


def create(tx: Transaction, connection: str, form: PresetForm, owner: str | None = None) -> PresetRow:
    """A new row with its secrets. Raises as `Presets.create`."""
    check_name("preset", form.name)
    parent = connections.find(tx.state, connection)
    if parent.kind != "code":
        raise ConfigError(f"connection {connection!r} is of kind {parent.kind}: it has no presets", param="connection")
    if any(row.name == form.name for row in tx.state.presets_of(parent.id)):
        raise Conflict(f"connection {connection!r} has a preset {form.name!r} already", param="name")
    row = PresetRow(
        id=f"p{secrets.token_hex(8)}", connection_id=parent.id, name=form.name, parameter_set=form.parameter_set,
        values=form.values, owner=owner, created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.state.presets[row.id] = row
    _store(tx, row, dict(form.secrets))
    return row


def update(tx: Transaction, row: PresetRow, changes: Mapping[str, Any]) -> PresetRow:
    """The row with some values changed."""
    secret = changes.get("secrets") or {}
    if not isinstance(secret, Mapping):
        raise ConfigError("preset: secrets: expected a table of fields and values", param="secrets")
    if changes.get("name", row.name) != row.name:
        raise ConfigError("preset: a preset keeps its name: models and credentials go by it", param="name")
    present = {"name": row.name, "parameter_set": row.parameter_set, "values": row.values}
    rest = {name: value for name, value in changes.items() if name != "secrets"}
    given = {name: value for name, value in secret.items() if value is not None}
    form = convert_form(PresetForm, merge(present, rest) | {"secrets": given}, "preset")
    changed = msgspec.structs.replace(row, parameter_set=form.parameter_set, values=form.values)
    touched = _store(tx, row, {**dict.fromkeys(secret), **form.secrets})
    if changed != row or touched:
        tx.state.presets[row.id] = changed = msgspec.structs.replace(changed, updated_at=tx.now)
    return changed


def _store(tx: Transaction, row: PresetRow, given: Mapping[str, str | None]) -> bool:
    named = {f"preset:{row.id}:{field}": value for field, value in given.items()}
    return store_secrets(tx, tx.state.connections[row.connection_id], named)


def hints(state: State, row: PresetRow) -> dict[str, str]:
    """Of the stored secret values, by field."""
    beginning = f"preset:{row.id}:"
    return {
        secret.name.removeprefix(beginning): secret.hint
        for secret in state.secrets_of(row.connection_id)
        if secret.name.startswith(beginning)
    }


def shown(row: PresetRow, state: State) -> Preset:
    models = [one.name for one in state.models_of(row.connection_id) if row.name in one.options.presets.values()]
    return Preset(
        id=row.id, connection=state.connections[row.connection_id].name, name=row.name,
        parameter_set=row.parameter_set, values=row.values, secrets=hints(state, row), models=tuple(models),
        credentials=sum(one.preset_id == row.id for one in state.credentials.values()), owner=row.owner,
        created_at=row.created_at / 1e6, updated_at=row.updated_at / 1e6,
    )  # fmt: skip
