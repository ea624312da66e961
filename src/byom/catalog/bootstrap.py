"""What a new catalog has: the built-in models, a user ``admin`` and its key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from byom.catalog import callers, connections, models, users
from byom.catalog.forms import ConnectionForm, KeyForm, ModelForm, UserForm
from byom.catalog.transaction import Transaction
from byom.catalog.vault import write_private

ADMIN = "admin"
BUILTIN = "builtin"
ADMIN_KEY_NAME = "admin.key"
"""Name of the key whose token is in the home folder's file of the same name."""

BUILTIN_CONNECTION = ConnectionForm(name=BUILTIN, kind="builtin")
BUILTIN_MODELS = (
    ModelForm(name="extractive", connection=BUILTIN, abilities=frozenset({"chat"})),
    ModelForm(name="lexical", connection=BUILTIN, abilities=frozenset({"embed", "rerank"})),
)
ADMIN_USER = UserForm(name=ADMIN, role="admin")


async def fill_new(tx: Transaction, admin_key_file: Path) -> None:
    """Fill a catalog that has nothing at all; any other one stays as it is."""
    if tx.before.revision > 0:
        return
    connections.create(tx, BUILTIN_CONNECTION)
    for form in BUILTIN_MODELS:
        models.create(tx, form)
    users.create(tx, ADMIN_USER)
    await new_admin_key(tx, admin_key_file)


async def new_admin_key(tx: Transaction, admin_key_file: Path) -> str:
    """A new admin key in ``admin_key_file`` (mode 0600), in place of the one made so before; returns the token.

    The user ``admin`` is made or enabled again where needed. The file is written before the change is stored: after a
    crash in between the file holds a key that does not work, and making another one repairs that.
    """
    user = tx.state.user(ADMIN) or users.create(tx, ADMIN_USER)
    if user.role != "admin" or user.disabled:
        users.update(tx, user, {"role": "admin", "disabled": False})
    for key in tx.state.keys_of(user.id):
        if key.name == ADMIN_KEY_NAME and key.revoked_at is None:
            tx.state.keys[key.id] = msgspec.structs.replace(key, revoked_at=tx.now, updated_at=tx.now)
    _, token = callers.create(tx, KeyForm(name=ADMIN_KEY_NAME, user=ADMIN, role="admin"))
    await asyncio.to_thread(write_private, admin_key_file, token.encode() + b"\n")
    return token
