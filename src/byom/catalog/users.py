"""Users: whom keys belong to."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from byom.catalog import amounts, removal
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import UserForm
from byom.catalog.names import check_name
from byom.catalog.records import Deletion, User
from byom.catalog.state import State, UserRow
from byom.catalog.transaction import Transaction
from byom.errors import Conflict, NotFound

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class Users:
    """``catalog.users``"""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self) -> tuple[User, ...]:
        state = self._catalog.state
        return tuple(shown(row, state) for row in state.users.values())

    def get(self, name: str) -> User:
        """Raises `NotFound`."""
        state = self._catalog.state
        return shown(find(state, name), state)

    async def create(self, form: UserForm | Mapping[str, Any], *, actor: str) -> User:
        """Raises `ConfigError` naming the field, `Conflict` when the name is taken."""
        async with self._catalog.change(actor) as tx:
            row = create(tx, as_form(form))
        return self.get(row.name)

    async def update(self, name: str, changes: Mapping[str, Any], *, actor: str) -> User:
        """Change some fields. ``disabled`` and ``role`` act on all keys of the user at once."""
        async with self._catalog.change(actor) as tx:
            row = update(tx, find(tx.state, name), changes)
        return self.get(row.name)

    async def delete(self, name: str, *, actor: str, dry_run: bool = False) -> Deletion:
        """Delete the user and all its keys; the answer names them."""
        async with self._catalog.change(actor, dry_run=dry_run) as tx:
            plan = removal.user(tx, find(tx.state, name))
        return msgspec.structs.replace(plan, done=not dry_run)


def find(state: State, name: str) -> UserRow:
    row = state.user(name)
    if row is None:
        raise NotFound(f"there is no user {name!r}", code="user_not_found", param="user")
    return row


def as_form(form: UserForm | Mapping[str, Any]) -> UserForm:
    return form if isinstance(form, UserForm) else convert_form(UserForm, form, "user")


def create(tx: Transaction, form: UserForm, owner: str | None = None) -> UserRow:
    check_name("user", form.name)
    amounts.enforced(form.limits)
    if tx.state.user(form.name) is not None:
        raise Conflict(f"there is a user {form.name!r} already", param="name")
    row = UserRow(
        id=f"u{secrets.token_hex(8)}", name=form.name, role=form.role, disabled=form.disabled, owner=owner,
        limits=form.limits, created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.state.users[row.id] = row
    return row


def update(tx: Transaction, row: UserRow, changes: Mapping[str, Any]) -> UserRow:
    return replace(tx, row, convert_form(UserForm, merge(fields_of(row), changes), "user"))


def replace(tx: Transaction, row: UserRow, form: UserForm) -> UserRow:
    """The row as ``form`` says; ``row`` itself when nothing differs."""
    amounts.enforced(form.limits)
    if form.name != row.name:
        check_name("user", form.name)
        if tx.state.user(form.name) is not None:
            raise Conflict(f"there is a user {form.name!r} already", param="name")
    changed = msgspec.structs.replace(row, name=form.name, role=form.role, disabled=form.disabled, limits=form.limits)
    if changed != row:
        tx.state.users[row.id] = row = msgspec.structs.replace(changed, updated_at=tx.now)
    return row


def fields_of(row: UserRow) -> dict[str, Any]:
    """The row as the fields of a form."""
    return {"name": row.name, "role": row.role, "disabled": row.disabled, "limits": msgspec.to_builtins(row.limits)}


def shown(row: UserRow, state: State) -> User:
    return User(
        id=row.id, name=row.name, role=row.role, disabled=row.disabled, limits=row.limits,
        keys=sum(key.revoked_at is None for key in state.keys_of(row.id)), owner=row.owner,
        created_at=row.created_at / 1e6, updated_at=row.updated_at / 1e6,
    )  # fmt: skip
