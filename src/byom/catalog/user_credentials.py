"""Each user's own credentials for code that calls others in their name.

Only the user whom one belongs to sets, replaces or deletes it, and nobody is ever shown its value: it is handed to the
process of the connection that it was entered for, and to no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from byom.catalog import connections, presets
from byom.catalog.forms import NeededCredential
from byom.catalog.records import Credential
from byom.catalog.state import CredentialRow, ModelRow, PresetRow, State
from byom.catalog.vault import Vault, hint_of
from byom.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog

LOGIN = "BASIC"
LONGEST = 16_384


class UserCredentials:
    """``catalog.credentials``. Users are named by their ids."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self, user_id: str, models: frozenset[str] | None = None) -> tuple[Credential, ...]:
        """What code asks of this user, and whether it is there. ``models``: those the user's key may use."""
        state = self._catalog.state
        asked = tuple(_asked(state, models))
        return tuple(_shown(one, state.credentials.get(_id(user_id, one.preset, one.needed.field))) for one in asked)

    async def put(
        self, user_id: str, connection: str, preset: str, field: str, value: str | dict[str, str], *, actor: str
    ) -> Credential:
        """Set or replace a credential. ``value``: a text, or ``user`` and ``password`` where it is of type BASIC.

        Raises `NotFound` where no model of the connection asks for it, `ConfigError` for a value of the wrong form.
        """
        async with self._catalog.change(actor) as tx:
            if user_id not in tx.state.users:
                raise NotFound("this user is not there any more", code="user_not_found")
            asked = _find(tx.state, connection, preset, field)
            text = _checked(value, asked.needed)
            row = CredentialRow(
                id=_id(user_id, asked.preset, field), user_id=user_id, connection_id=asked.preset.connection_id,
                preset_id=asked.preset.id, field=field, ciphertext="", hint=_hint(value), created_at=tx.now,
            )  # fmt: skip
            tx.state.credentials[row.id] = _sealed(tx.vault, row, text)
        return _shown(asked, self._catalog.state.credentials.get(row.id))

    async def delete(self, user_id: str, connection: str, preset: str, field: str, *, actor: str) -> None:
        """Raises `NotFound`."""
        async with self._catalog.change(actor) as tx:
            id_ = _id(user_id, presets.find(tx.state, connection, preset), field)
            if tx.state.credentials.pop(id_, None) is None:
                raise NotFound(
                    f"you have no credential {field!r} of the preset {preset!r} of {connection!r}",
                    code="credential_not_found",
                )


class _Asked(NamedTuple):
    connection: str
    preset: PresetRow
    needed: NeededCredential
    models: tuple[str, ...]


def _asked(state: State, allowed: frozenset[str] | None = None) -> Iterator[_Asked]:
    """Every credential that some model needs, once."""
    found: dict[tuple[str, str], tuple[PresetRow, NeededCredential, list[str]]] = {}
    by_name = {(row.connection_id, row.name): row for row in state.presets.values()}
    for model in state.models.values():
        if allowed is not None and model.name not in allowed:
            continue
        for needed in model.options.credentials:
            preset = by_name.get((model.connection_id, preset_of(model, needed)))
            if preset is not None:
                found.setdefault((preset.id, needed.field), (preset, needed, []))[2].append(model.name)
    for preset, needed, models in found.values():
        yield _Asked(state.connections[preset.connection_id].name, preset, needed, tuple(dict.fromkeys(models)))


def preset_of(model: ModelRow, needed: NeededCredential) -> str:
    """The preset that the model has there now, whatever it had when it was made."""
    return model.options.presets.get(needed.param, needed.preset)


def _find(state: State, connection: str, preset: str, field: str) -> _Asked:
    wanted = presets.find(state, connection, preset)
    fields = {one.needed.field: one for one in _asked(state) if one.preset.id == wanted.id}
    if field not in fields:
        there = ", ".join(fields) or "none"
        raise NotFound(
            f"the preset {preset!r} of {connection!r} asks for no credential {field!r}; it asks for: {there}",
            code="credential_not_found", param="field",
        )  # fmt: skip
    return fields[field]


def _checked(value: str | dict[str, str], needed: NeededCredential) -> str:
    """The JSON that is kept. Raises `ConfigError` that never shows a value."""
    if needed.type == LOGIN:
        if not isinstance(value, dict) or set(value) != {"user", "password"} or not all(value.values()):
            raise ConfigError(f"{needed.field}: it takes a user and a password", param="value")
    elif not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{needed.field}: it takes a text that is not empty", param="value")
    text = msgspec.json.encode(value).decode()
    if len(text) > LONGEST:
        raise ConfigError(f"{needed.field}: it is longer than {LONGEST} characters", param="value")
    return text


def _hint(value: str | dict[str, str]) -> str:
    return hint_of(value) if isinstance(value, str) else ""


def _shown(asked: _Asked, row: CredentialRow | None) -> Credential:
    needed = asked.needed
    return Credential(
        connection=asked.connection, preset=asked.preset.name, field=needed.field, type=needed.type,
        label=needed.label, models=asked.models, is_set=row is not None, hint=None if row is None else row.hint,
        updated_at=None if row is None else row.created_at / 1e6,
    )  # fmt: skip


def _id(user_id: str, preset: PresetRow, field: str) -> str:
    return f"{user_id}:{preset.id}:{field}"


def _place(row: CredentialRow) -> str:
    """What the ciphertext is sealed for."""
    return f"{row.connection_id} {row.preset_id} {row.user_id} {row.field}"


def _sealed(vault: Vault, row: CredentialRow, text: str) -> CredentialRow:
    return msgspec.structs.replace(row, ciphertext=vault.encrypt(text, _place(row)))


def reveal(vault: Vault, row: CredentialRow) -> Any:
    """The text, or the user and password."""
    return msgspec.json.decode(vault.decrypt(row.ciphertext, _place(row)))


def resealed(vault: Vault, row: CredentialRow) -> CredentialRow:
    """The same credential under the vault's present first key."""
    return _sealed(vault, row, vault.decrypt(row.ciphertext, _place(row)))


def of_connection(vault: Vault, state: State, connection: str) -> dict[str, dict[str, dict[str, Any]]]:
    """In clear: user id → preset → field → value. For the process of that connection alone."""
    row = connections.find(state, connection)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in state.credentials.values():
        if one.connection_id == row.id:
            preset = state.presets[one.preset_id].name
            found.setdefault(one.user_id, {}).setdefault(preset, {})[one.field] = reveal(vault, one)
    return found
