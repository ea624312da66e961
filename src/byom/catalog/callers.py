"""Caller keys: who may use the gateway, and who the management API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import select

from byom.catalog import amounts, models, removal, tables, users
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import KeyForm
from byom.catalog.keys import digest_of, new_token
from byom.catalog.names import check_name
from byom.catalog.records import CreatedKey, Deletion, Key
from byom.catalog.state import KeyRow, State
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, ModelNotFound, NotFound

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class Keys:
    """``catalog.keys``"""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list(self, *, user: str | None = None) -> tuple[Key, ...]:
        """All keys, revoked ones too; those of one user when ``user`` is given."""
        await self._catalog.flush()
        state = self._catalog.state
        used = await self._last_used()
        owner = None if user is None else users.find(state, user).id
        now = self._catalog.now()
        return tuple(
            shown(msgspec.structs.replace(row, last_used_at=used.get(row.id)), state, now)
            for row in state.keys.values()
            if owner is None or row.user_id == owner
        )

    async def get(self, key_id: str) -> Key:
        """Raises `NotFound`."""
        found = next((key for key in await self.list() if key.id == key_id), None)
        if found is None:
            raise _not_found(key_id)
        return found

    async def create(self, form: KeyForm | Mapping[str, Any], *, actor: str) -> CreatedKey:
        """Make a key. The answer's ``token`` is shown this once. Raises `ConfigError`, `NotFound` for the user."""
        async with self._catalog.change(actor) as tx:
            row, token = create(tx, as_form(form))
        return CreatedKey(key=shown(row, self._catalog.state, self._catalog.now()), token=token)

    async def update(self, key_id: str, changes: Mapping[str, Any], *, actor: str) -> Key:
        """Change name, role, models, limits or expiry; the token and the user stay."""
        async with self._catalog.change(actor) as tx:
            update(tx, find(tx.state, key_id), changes)
        return await self.get(key_id)

    async def revoke(self, key_id: str, *, actor: str, dry_run: bool = False) -> Deletion:
        """Stop the key at once, for good. It stays in the list. Idempotent."""
        async with self._catalog.change(actor, dry_run=dry_run) as tx:
            row = find(tx.state, key_id)
            if row.revoked_at is None:
                tx.state.keys[row.id] = msgspec.structs.replace(row, revoked_at=tx.now, updated_at=tx.now)
            warnings = removal.admin_warnings(tx)
        return Deletion(kind="key", name=key_id, keys=(key_id,), warnings=warnings, done=not dry_run)

    async def _last_used(self) -> dict[str, int]:
        query = select(tables.keys.c.id, tables.keys.c.last_used_at)
        async with self._catalog.store.reading() as connection:
            return {row.id: row.last_used_at for row in await connection.execute(query)}


def _not_found(key_id: str) -> NotFound:
    return NotFound(f"there is no key {key_id!r}", code="key_not_found", param="id")


def find(state: State, key_id: str) -> KeyRow:
    row = state.keys.get(key_id)
    if row is None:
        raise _not_found(key_id)
    return row


def as_form(form: KeyForm | Mapping[str, Any]) -> KeyForm:
    return form if isinstance(form, KeyForm) else convert_form(KeyForm, form, "key")


def create(tx: Transaction, form: KeyForm) -> tuple[KeyRow, str]:
    """The new key's row and its token."""
    user = users.find(tx.state, form.user)
    _check(form, user.role)
    key_id, token = new_token()
    row = KeyRow(
        id=key_id, user_id=user.id, name=form.name, role=form.role, digest=digest_of(token), hint=token[-4:],
        models=_model_names(tx.state, form.models), limits=form.limits, expires_at=form.expires_at, revoked_at=None,
        last_used_at=None, created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.state.keys[row.id] = row
    return row, token


def update(tx: Transaction, row: KeyRow, changes: Mapping[str, Any]) -> KeyRow:
    user = tx.state.users[row.user_id]
    fields = {
        "name": row.name, "user": user.name, "role": row.role, "limits": msgspec.to_builtins(row.limits),
        "models": None if row.models is None else list(row.models), "expires_at": row.expires_at,
    }  # fmt: skip
    form = convert_form(KeyForm, merge(fields, changes), "key")
    _check(form, user.role)
    if form.user != user.name:
        raise ConfigError("user: a key stays with its user; make another key instead", param="user")
    names = row.models if form.models == row.models else _model_names(tx.state, form.models)
    changed = msgspec.structs.replace(
        row, name=form.name, role=form.role, models=names, limits=form.limits, expires_at=form.expires_at
    )
    if changed != row:
        tx.state.keys[row.id] = changed = msgspec.structs.replace(changed, updated_at=tx.now)
    return changed


def _check(form: KeyForm, user_role: str) -> None:
    check_name("key", form.name)
    amounts.enforced(form.limits)
    if form.role == "admin" and user_role != "admin":
        raise ConfigError(f"role: the user {form.user!r} is no admin, so its keys cannot be", param="role")


def _model_names(state: State, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The models' own names, so that a key for an alias means that model. Raises `ConfigError` for unknown ones."""
    if names is None:
        return None
    try:
        return tuple(dict.fromkeys(models.find(state, name).name for name in names))
    except ModelNotFound as error:
        raise ConfigError(f"models: {error}", param="models") from None


def shown(row: KeyRow, state: State, now: float) -> Key:
    user = state.users[row.user_id]
    key_state = "active"
    if row.revoked_at is not None:
        key_state = "revoked"
    elif user.disabled:
        key_state = "disabled"
    elif row.expires_at is not None and row.expires_at <= now:
        key_state = "expired"
    return Key(
        id=row.id, name=row.name, user=user.name, role=row.role, key_hint=row.hint, models=row.models,
        limits=row.limits, created_at=row.created_at / 1e6, expires_at=row.expires_at,
        revoked_at=None if row.revoked_at is None else row.revoked_at / 1e6,
        last_used_at=None if row.last_used_at is None else row.last_used_at / 1e6,
        state=key_state,  # type: ignore[arg-type]
    )  # fmt: skip
