"""Loading the state, and writing a difference of two states with its audit log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import JSON, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from byom.catalog import tables
from byom.catalog.state import (
    ConnectionRow,
    CredentialRow,
    Difference,
    KeyRow,
    Kind,
    ModelRow,
    PresetRow,
    PriceRow,
    SecretRow,
    SettingRow,
    State,
    UserRow,
)
from byom.catalog.vault import Vault

ROWS: dict[Kind, tuple[Table, type[Any]]] = {
    "connection": (tables.connections, ConnectionRow),
    "model": (tables.models, ModelRow),
    "user": (tables.users, UserRow),
    "key": (tables.keys, KeyRow),
    "secret": (tables.secrets, SecretRow),
    "preset": (tables.presets, PresetRow),
    "credential": (tables.credentials, CredentialRow),
    "price": (tables.prices, PriceRow),
    "setting": (tables.settings, SettingRow),
}
_NOT_LOGGED = frozenset({
    "id", "connection_id", "user_id", "preset_id", "ciphertext", "digest", "created_at", "updated_at", "version",
    "packaged", "from_code",
})  # fmt: skip


class Transaction:
    """What a changing operation works on: ``state`` is a copy that it may change; ``before`` is what was found."""

    def __init__(self, before: State, actor: str, vault: Vault) -> None:
        self.before = before
        self.state = before.copy()
        self.actor = actor
        self.vault = vault
        self.now = time.time_ns() // 1000
        """Microseconds since the epoch, the same for the whole transaction."""


async def load(connection: AsyncConnection) -> State:
    """Everything, in the catalog's order: oldest first, then by name."""
    state = State(revision=int(await connection.scalar(select(tables.revision.c.value)) or 0))
    for kind, (table, row_type) in ROWS.items():
        order = [table.c[name] for name in ("created_at", "name") if name in table.c]
        key = _key(table)
        rows = state.rows(kind)
        names = [str(column.name) for column in table.c]
        for values in await connection.execute(select(table).order_by(*order)):
            found = dict(zip(names, values, strict=True))
            rows[found[key]] = msgspec.convert(found, row_type)
    return state


async def save(connection: AsyncConnection, changes: Sequence[Difference], tx: Transaction) -> None:
    """Write the rows, then the audit log and the revision.

    What goes away goes last, children before parents: until then a row may still have moved away from its parent.
    """
    before, after = tx.before, tx.state
    after.revision = before.revision + 1
    for change in changes:
        table, _ = ROWS[change.kind]
        if change.after is not None and change.before is None:
            await connection.execute(insert(table), _values(table, change.after, None))
        elif change.after is not None:
            values = _values(table, change.after, change.fields)
            await connection.execute(update(table).where(table.c[_key(table)] == change.id).values(values))
    for change in reversed(changes):
        if change.after is None:
            table, _ = ROWS[change.kind]
            await connection.execute(table.delete().where(table.c[_key(table)] == change.id))
    entries = [entry for entry in audit_entries(changes, tx) if entry is not None]
    if entries:
        await connection.execute(insert(tables.audit), entries)
    await connection.execute(update(tables.revision).values(value=after.revision))


def audit_entries(changes: Iterable[Difference], tx: Transaction) -> Iterable[dict[str, Any] | None]:
    """One entry a change: who, what, and the fields that differ, a secret only as its hint."""
    for change in changes:
        action = "create" if change.before is None else "delete" if change.after is None else "update"
        fields = change.fields if action == "update" else (change.after or change.before).__struct_fields__
        shown = [name for name in fields if name not in _NOT_LOGGED]
        if action == "update" and not shown and change.kind not in ("secret", "credential"):
            yield None
            continue
        where = tx.before if change.after is None else tx.state
        yield {
            "at": tx.now,
            "actor": tx.actor[:200],
            "action": action,
            "kind": change.kind,
            "name": where.label(change.kind, change.after or change.before),
            "before": _shown(change.before, shown),
            "after": _shown(change.after, shown),
        }


def _shown(row: Any, fields: Sequence[str]) -> dict[str, Any] | None:
    if row is None:
        return None
    return {name: msgspec.to_builtins(getattr(row, name), str_keys=True) for name in fields}


def _key(table: Table) -> str:
    return str(next(iter(table.primary_key.columns)).name)


def _values(table: Table, row: Any, fields: Sequence[str] | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column in table.c:
        if fields is not None and column.name not in fields:
            continue
        value = getattr(row, column.name)
        values[column.name] = msgspec.to_builtins(value, str_keys=True) if isinstance(column.type, JSON) else value
    return values
