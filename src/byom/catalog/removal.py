"""Deleting and renaming: what else it touches."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from byom.catalog.records import Deletion
from byom.catalog.state import ConnectionRow, ModelRow, PresetRow, SettingRow, UserRow
from byom.catalog.transaction import Transaction

NO_ADMIN = "no admin key that works is left: make one with byom keys reset-admin on the hub's machine"


def connection(tx: Transaction, row: ConnectionRow) -> Deletion:
    """Take out the connection, its models and secrets, and every mention of them."""
    models = tx.state.models_of(row.id)
    fallbacks, keys = _forget_models(tx, models)
    settings: tuple[str, ...] = ()
    stored = tx.state.settings.get("default_connection")
    if stored is not None and stored.value == row.name:
        del tx.state.settings["default_connection"]
        settings = ("default_connection",)
    for secret in tx.state.secrets_of(row.id):
        del tx.state.secrets[secret.id]
    presets = tx.state.presets_of(row.id)
    for one in presets:
        del tx.state.presets[one.id]
    del tx.state.connections[row.id]
    return Deletion(
        kind="connection",
        name=row.name,
        models=tuple(model.name for model in models),
        fallbacks=fallbacks,
        keys=keys,
        settings=settings,
        presets=tuple(one.name for one in presets),
        credentials=_forget_credentials(tx, "connection_id", row.id),
    )


def preset(tx: Transaction, row: PresetRow) -> Deletion:
    """Take out the preset and what users entered for it; the models that use it have no values for it any more."""
    _forget_secrets(tx, row.connection_id, f"preset:{row.id}:")
    del tx.state.presets[row.id]
    models = [model for model in tx.state.models_of(row.connection_id) if row.name in model.options.presets.values()]
    return Deletion(
        kind="preset",
        name=row.name,
        credentials=_forget_credentials(tx, "preset_id", row.id),
        warnings=tuple(f"the model {model.name} uses it, and will not work without" for model in models),
    )


def _forget_secrets(tx: Transaction, connection_id: str, beginning: str) -> None:
    for secret in tx.state.secrets_of(connection_id):
        if secret.name.startswith(beginning):
            del tx.state.secrets[secret.id]


def _forget_credentials(tx: Transaction, column: str, id_: str) -> int:
    gone = [row.id for row in tx.state.credentials.values() if getattr(row, column) == id_]
    for credential in gone:
        del tx.state.credentials[credential]
    return len(gone)


def model(tx: Transaction, row: ModelRow) -> Deletion:
    fallbacks, keys = _forget_models(tx, [row])
    return Deletion(kind="model", name=row.name, models=(row.name,), fallbacks=fallbacks, keys=keys)


def user(tx: Transaction, row: UserRow) -> Deletion:
    keys = tx.state.keys_of(row.id)
    for key in keys:
        del tx.state.keys[key.id]
    credentials = _forget_credentials(tx, "user_id", row.id)
    del tx.state.users[row.id]
    return Deletion(
        kind="user",
        name=row.name,
        keys=tuple(key.id for key in keys if key.revoked_at is None),
        credentials=credentials,
        warnings=admin_warnings(tx),
    )


def admin_warnings(tx: Transaction) -> tuple[str, ...]:
    """A word of warning when the last way into the management API goes."""
    admins = {row.id for row in tx.state.users.values() if row.role == "admin" and not row.disabled}
    left = any(
        key.role == "admin" and key.revoked_at is None and key.user_id in admins for key in tx.state.keys.values()
    )
    return () if left else (NO_ADMIN,)


def _forget_models(tx: Transaction, rows: Iterable[ModelRow]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take models out of the state; returns which models lose a fallback and which keys a model."""
    rows = list(rows)
    gone = {row.name for row in rows}
    for row in rows:
        _forget_secrets(tx, row.connection_id, f"model:{row.id}:")
        del tx.state.models[row.id]
    fallbacks = [row for row in tx.state.models.values() if gone.intersection(row.fallbacks)]
    for row in fallbacks:
        left = tuple(name for name in row.fallbacks if name not in gone)
        tx.state.models[row.id] = msgspec.structs.replace(
            row, fallbacks=left, updated_at=tx.now, version=row.version + 1
        )
    keys = [key for key in tx.state.keys.values() if key.models is not None and gone.intersection(key.models)]
    for key in keys:
        # An empty list allows nothing; only ``None`` would allow everything.
        models = tuple(name for name in key.models or () if name not in gone)
        tx.state.keys[key.id] = msgspec.structs.replace(key, models=models, updated_at=tx.now)
    return tuple(row.name for row in fallbacks), tuple(key.id for key in keys if key.revoked_at is None)


def rename_model(tx: Transaction, old: str, new: str) -> None:
    """Let fallbacks and restricted keys follow a model to its new name."""
    for row in list(tx.state.models.values()):
        if old in row.fallbacks:
            fallbacks = tuple(new if name == old else name for name in row.fallbacks)
            tx.state.models[row.id] = msgspec.structs.replace(row, fallbacks=fallbacks, version=row.version + 1)
    for key in list(tx.state.keys.values()):
        if key.models is not None and old in key.models:
            models = tuple(new if name == old else name for name in key.models)
            tx.state.keys[key.id] = msgspec.structs.replace(key, models=models)


def rename_default_connection(tx: Transaction, old: str, new: str) -> None:
    stored = tx.state.settings.get("default_connection")
    if stored is not None and stored.value == old:
        tx.state.settings["default_connection"] = SettingRow(name="default_connection", value=new, owner=stored.owner)
