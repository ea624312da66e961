"""The secrets of a connection: each is bound to the scheme, host and port that it was saved for."""

from __future__ import annotations

from collections.abc import Mapping

from byom.catalog.build import destination_of
from byom.catalog.headers import clean_key, split
from byom.catalog.state import ConnectionRow, SecretRow
from byom.catalog.transaction import Transaction
from byom.catalog.vault import Vault, hint_of
from byom.errors import ConfigError


def given_secrets(
    key: str | None, headers: Mapping[str, str | None]
) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The plain headers, and the secrets by their stored name (``key``, ``header:<name>``). ``None``: take it out."""
    plain, secret = split(headers)
    named = {f"header:{name}": value for name, value in secret.items()}
    if key is not None:
        named["key"] = clean_key(key)
    return plain, named


def place_of(row: SecretRow) -> str:
    """What the ciphertext is sealed for."""
    return f"{row.connection_id} {row.name} {row.destination}"


def reveal(vault: Vault, row: SecretRow) -> str:
    return vault.decrypt(row.ciphertext, place_of(row))


def check_destination(tx: Transaction, row: ConnectionRow, destination: str, given: Mapping[str, str | None]) -> None:
    """Refuse to move a connection elsewhere while secrets for the old place would stay with it."""
    left = [s.name for s in tx.state.secrets_of(row.id) if s.destination != destination and s.name not in given]
    if left:
        what = ", ".join(
            "the key" if name == "key" else name.removeprefix("header:") for name in sorted(left, reverse=True)
        )
        raise ConfigError(
            f"connection {row.name!r} moves from {destination_of(row.url)} to {destination}, and its stored secrets "
            f"are only ever sent to the host they were saved for: re-enter {what} (or remove it by giving null).",
            code="reenter_key",
            param="key",
        )


def store_secrets(
    tx: Transaction, row: ConnectionRow, given: Mapping[str, str | None], sources: Mapping[str, str] | None = None
) -> bool:
    """Keep, replace or remove secrets; true when something changed. An equal secret is left as it is.

    ``sources``: where byom.toml takes a secret from (``env:NAME``, ``file:PATH``), by the secret's name.
    """
    touched = False
    for name, value in given.items():
        id_ = f"{row.id}:{name}"
        present = tx.state.secrets.get(id_)
        if value is None:
            touched |= tx.state.secrets.pop(id_, None) is not None
            continue
        empty = SecretRow(
            id=id_, connection_id=row.id, name=name, destination=destination_of(row.url), ciphertext="",
            hint=hint_of(value), source=(sources or {}).get(name, ""), created_at=tx.now,
        )  # fmt: skip
        if present is not None and _same(tx.vault, present, empty, value):
            continue
        tx.state.secrets[id_] = _sealed(tx.vault, empty, value)
        touched = True
    return touched


def _same(vault: Vault, present: SecretRow, wanted: SecretRow, value: str) -> bool:
    if (present.destination, present.source) != (wanted.destination, wanted.source):
        return False
    return reveal(vault, present) == value


def _sealed(vault: Vault, row: SecretRow, value: str) -> SecretRow:
    return SecretRow(
        id=row.id, connection_id=row.connection_id, name=row.name, destination=row.destination,
        ciphertext=vault.encrypt(value, place_of(row)), hint=row.hint, source=row.source, created_at=row.created_at,
    )  # fmt: skip


def resealed(vault: Vault, row: SecretRow) -> SecretRow:
    """The same secret under the vault's present first key."""
    return _sealed(vault, row, reveal(vault, row))
