"""Connections: how to reach a provider or a piece of code."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from byom.catalog import amounts, code_options, removal
from byom.catalog.build import destination_of
from byom.catalog.credentials import check_destination, given_secrets, store_secrets
from byom.catalog.edits import convert_form, merge
from byom.catalog.forms import ConnectionForm
from byom.catalog.names import check_name
from byom.catalog.records import Connection, Deletion
from byom.catalog.state import ConnectionPolicy, ConnectionRow, State
from byom.catalog.transaction import Transaction
from byom.errors import ConfigError, Conflict, NotFound
from byom.upstream.url import parse_endpoint

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog


class Connections:
    """``catalog.connections``"""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self) -> tuple[Connection, ...]:
        state = self._catalog.state
        return tuple(shown(row, state) for row in state.connections.values())

    def get(self, name: str) -> Connection:
        """Raises `NotFound`."""
        state = self._catalog.state
        return shown(find(state, name), state)

    async def create(self, form: ConnectionForm | Mapping[str, Any], *, actor: str) -> Connection:
        """Raises `ConfigError` naming the field, `Conflict` when the name is taken."""
        async with self._catalog.change(actor) as tx:
            row = create(tx, as_form(form))
        return self.get(row.name)

    async def update(self, name: str, changes: Mapping[str, Any], *, actor: str) -> Connection:
        """Change some fields (``name`` renames). A stored key stays unless ``key`` is given; ``key=None`` removes it.

        Raises `ConfigError` with code ``reenter_key`` when ``url`` moves to another host and the stored secrets were
        not given again: they are never sent to a place they were not saved for.
        """
        async with self._catalog.change(actor) as tx:
            row = update(tx, find(tx.state, name), changes)
        return self.get(row.name)

    async def delete(self, name: str, *, actor: str, dry_run: bool = False) -> Deletion:
        """Delete it with its models and secrets; the answer says what stops working. Raises `NotFound`."""
        async with self._catalog.change(actor, dry_run=dry_run) as tx:
            plan = removal.connection(tx, find(tx.state, name))
        return msgspec.structs.replace(plan, done=not dry_run)


def find(state: State, name: str) -> ConnectionRow:
    row = state.connection(name)
    if row is None:
        raise NotFound(f"there is no connection {name!r}", code="connection_not_found", param="connection")
    return row


def as_form(form: ConnectionForm | Mapping[str, Any]) -> ConnectionForm:
    return form if isinstance(form, ConnectionForm) else convert_form(ConnectionForm, form, "connection")


def create(
    tx: Transaction, form: ConnectionForm, owner: str | None = None, sources: Mapping[str, str] | None = None
) -> ConnectionRow:
    """A new row, with its secrets. ``sources``: as `byom.catalog.credentials.store_secrets` has them."""
    check_name("connection", form.name)
    if tx.state.connection(form.name) is not None:
        raise Conflict(f"there is a connection {form.name!r} already", param="name")
    plain, secret = given_secrets(form.key, form.headers)
    row = _row(form, ConnectionRow(
        id=f"c{secrets.token_hex(8)}", name=form.name, kind=form.kind, url=None, enabled=True, owner=owner, headers={},
        limits=form.limits, policy=ConnectionPolicy(), options={}, created_at=tx.now, updated_at=tx.now, version=0,
    ), {name: value for name, value in plain.items() if value is not None})  # fmt: skip
    row = msgspec.structs.replace(row, version=1)
    tx.state.connections[row.id] = row
    store_secrets(tx, row, secret, sources)
    return row


def update(tx: Transaction, row: ConnectionRow, changes: Mapping[str, Any]) -> ConnectionRow:
    """The row with some fields changed; what is not named stays."""
    headers = changes.get("headers", {})
    if headers is None:
        headers = dict.fromkeys((*row.headers, *secret_header_names(tx.state, row)))
    if not isinstance(headers, Mapping):
        raise ConfigError("connection: headers: expected a table of names and values", param="headers")
    if isinstance(changes.get("url"), str) and "base_path" not in changes:
        changes = {**changes, "base_path": None}
    rest = {name: value for name, value in changes.items() if name not in {"key", "headers"}}
    form = convert_form(ConnectionForm, merge(plain_fields(row), rest), "connection")
    checked = convert_form(ConnectionForm, {
        "name": form.name, "key": changes.get("key"),
        "headers": {name: value for name, value in headers.items() if value is not None},
    }, "connection")  # fmt: skip
    removed = dict.fromkeys(name for name, value in headers.items() if value is None)
    plain, secret = given_secrets(checked.key, {**checked.headers, **removed})
    if "key" in changes and changes["key"] is None:
        secret["key"] = None
    return replace(tx, row, form, merge(row.headers, plain), secret)


def secret_header_names(state: State, row: ConnectionRow) -> list[str]:
    return [s.name.removeprefix("header:") for s in state.secrets_of(row.id) if s.name.startswith("header:")]


def replace(
    tx: Transaction,
    row: ConnectionRow,
    form: ConnectionForm,
    headers: dict[str, str],
    secret: dict[str, str | None],
    sources: Mapping[str, str] | None = None,
) -> ConnectionRow:
    """The row as ``form`` says, with these plain ``headers``; secrets that are not named in ``secret`` stay."""
    if form.kind != row.kind:
        raise ConfigError(f"kind: a connection of kind {row.kind} cannot become {form.kind}", param="kind")
    if form.name != row.name:
        check_name("connection", form.name)
        if tx.state.connection(form.name) is not None:
            raise Conflict(f"there is a connection {form.name!r} already", param="name")
        removal.rename_default_connection(tx, row.name, form.name)
    changed = _row(form, row, headers)
    check_destination(tx, row, destination_of(changed.url), secret)
    touched = store_secrets(tx, changed, secret, sources)
    if changed != row or touched:
        changed = msgspec.structs.replace(changed, updated_at=tx.now, version=row.version + 1)
    tx.state.connections[row.id] = changed
    return changed


def _row(form: ConnectionForm, row: ConnectionRow, headers: dict[str, str]) -> ConnectionRow:
    amounts.enforced(form.limits)
    check_durations(form)
    policy = {name: getattr(form, name) for name in ConnectionPolicy.__struct_fields__}
    options = code_options.checked(form.options) if form.kind == "code" else form.options
    return msgspec.structs.replace(
        row, name=form.name, url=_canonical(form), enabled=form.enabled, headers=headers, limits=form.limits,
        policy=ConnectionPolicy(**policy), options=options,
    )  # fmt: skip


def check_durations(form: Any) -> None:
    """Time-outs and retries of a form. Raises `ConfigError` naming the field."""
    for group in ("timeouts", "retry", "circuit"):
        values = getattr(form, group, None)
        if values is None:
            continue
        for name in values.__struct_fields__:
            smallest = 1 if name in {"attempts", "failures"} else 0
            if not smallest <= getattr(values, name) <= 10**9:
                raise ConfigError(f"{group}.{name}: it must be {smallest} or more", param=f"{group}.{name}")


def _canonical(form: ConnectionForm) -> str | None:
    """The stored URL: whole, up to where the routes begin."""
    if form.url is None:
        if form.kind == "endpoint":
            raise ConfigError("url: an endpoint needs its URL, such as http://localhost:8000/v1", param="url")
        return None
    endpoint = parse_endpoint(form.url)
    path = endpoint.candidates()[0] if form.base_path is None else form.base_path.rstrip("/")
    if path and not path.startswith("/"):
        raise ConfigError("base_path: it begins with a slash, such as /v1", param="base_path")
    return endpoint.url(path)


def plain_fields(row: ConnectionRow) -> dict[str, Any]:
    """The row as the fields of a form, without headers and secrets."""
    fields = {
        "name": row.name, "kind": row.kind, "url": row.url, "enabled": row.enabled, "options": row.options,
        "base_path": None if row.url is None else parse_endpoint(row.url).base_path,
        "limits": msgspec.to_builtins(row.limits),
    }  # fmt: skip
    policy: dict[str, Any] = msgspec.to_builtins(row.policy)
    return fields | policy


def shown(row: ConnectionRow, state: State) -> Connection:
    stored = {secret.name: secret for secret in state.secrets_of(row.id)}
    return Connection(
        id=row.id, name=row.name, kind=row.kind, url=row.url,
        key_hint=stored["key"].hint if "key" in stored else None,
        headers=row.headers, secret_headers=tuple(sorted(secret_header_names(state, row))),
        limits=row.limits, enabled=row.enabled, options=row.options,
        **{name: getattr(row.policy, name) for name in ConnectionPolicy.__struct_fields__},
        models=tuple(model.name for model in state.models_of(row.id)),
        owner=row.owner, created_at=row.created_at / 1e6, updated_at=row.updated_at / 1e6, version=row.version,
    )  # fmt: skip
