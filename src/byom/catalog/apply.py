"""Making the catalog as a byom.toml declares it.

What is created or changed this way is marked ``owner = "byom.toml"``, and only what is marked is deleted when it is no
longer declared. Something that was made otherwise and already is as declared stays unmarked.
"""

from __future__ import annotations

from functools import partial

import msgspec

from byom.catalog import code_models, connections, hub_settings, models, presets, prices, removal, users
from byom.catalog.credentials import given_secrets
from byom.catalog.declaration import Declaration, DeclaredConnection, DeclaredModel, located
from byom.catalog.edits import convert_form
from byom.catalog.forms import SettingsForm, UserForm
from byom.catalog.records import Change, Plan
from byom.catalog.state import differences
from byom.catalog.transaction import Transaction

OWNER = "byom.toml"
FOUND_OUT = ("abilities", "context_window", "dimensions", "details")
_NOT_A_CHANGE = {"packaged", "from_code", "updated_at", "version", "owner", "ciphertext", "created_at"}


def apply_declaration(tx: Transaction, declaration: Declaration) -> None:
    """Work on the transaction's state. Raises `ConfigError` with section, key and line."""
    text = declaration.text
    for name, connection in declaration.connections.items():
        located(text, ("connections", name), partial(_connection, tx, connection))
    for name, model in declaration.models.items():
        located(text, ("models", name), partial(_model, tx, model))
    _delete_undeclared(tx, declaration)
    for name, model in declaration.models.items():
        located(text, ("models", name), partial(_fallbacks, tx, model))
    for name, user in declaration.users.items():
        located(text, ("users", name), partial(_user, tx, user))
    for pattern, price in declaration.prices.items():
        located(text, ("prices", pattern), partial(prices.put, tx, pattern, price, OWNER))
    located(text, ("settings",), partial(_settings, tx, declaration))


def _connection(tx: Transaction, declared: DeclaredConnection) -> None:
    form = declared.form
    row = tx.state.connection(form.name)
    if row is None:
        connections.create(tx, form, OWNER, declared.sources)
        _presets(tx, declared)
        return
    plain, secret = given_secrets(form.key, form.headers)
    headers = {name: value for name, value in plain.items() if value is not None}
    changed = connections.replace(tx, row, form, headers, secret, declared.sources)
    if changed.version != row.version:
        tx.state.connections[row.id] = msgspec.structs.replace(changed, owner=OWNER)
    _presets(tx, declared)


def _presets(tx: Transaction, declared: DeclaredConnection) -> None:
    name = declared.form.name
    present = {one.name: one for one in tx.state.presets_of(connections.find(tx.state, name).id)}
    for form in declared.presets.values():
        row = present.get(form.name)
        if row is None:
            presets.create(tx, name, form, OWNER)
            continue
        changed = msgspec.structs.replace(row, parameter_set=form.parameter_set, values=form.values)
        if changed != row:
            tx.state.presets[row.id] = msgspec.structs.replace(changed, owner=OWNER, updated_at=tx.now)
    for row in present.values():
        if row.owner == OWNER and row.name not in declared.presets:
            removal.preset(tx, row)


def _model(tx: Transaction, declared: DeclaredModel) -> None:
    """Everything but the fallbacks, which may name models that come later in the file."""
    row = tx.state.model(declared.form.name)
    if row is None:
        models.create(tx, msgspec.structs.replace(declared.form, fallbacks=()), OWNER)
    else:
        _replace_model(tx, declared, row.fallbacks)


def _fallbacks(tx: Transaction, declared: DeclaredModel) -> None:
    _replace_model(tx, declared, declared.form.fallbacks)


def _replace_model(tx: Transaction, declared: DeclaredModel, fallbacks: tuple[str, ...]) -> None:
    row = models.find(tx.state, declared.form.name)
    present = models.form_of(row, tx.state)
    kept = {name: getattr(present, name) for name in (*FOUND_OUT, "options") if name not in declared.given}
    form, from_code = msgspec.structs.replace(declared.form, fallbacks=fallbacks, **kept), None
    if row.from_code is not None:
        form, from_code = code_models.declared(form, row.from_code, declared.given)
    changed = models.replace(tx, row, form, from_code)
    if changed.version != row.version:
        tx.state.models[row.id] = msgspec.structs.replace(changed, owner=OWNER)


def _user(tx: Transaction, form: UserForm) -> None:
    row = tx.state.user(form.name)
    if row is None:
        users.create(tx, form, OWNER)
        return
    changed = users.replace(tx, row, form)
    if changed is not row:
        tx.state.users[row.id] = msgspec.structs.replace(changed, owner=OWNER)


def _delete_undeclared(tx: Transaction, declaration: Declaration) -> None:
    state = tx.state
    for model in [row for row in state.models.values() if row.owner == OWNER and row.name not in declaration.models]:
        removal.model(tx, model)
    for row in [row for row in state.connections.values() if row.owner == OWNER]:
        if row.name not in declaration.connections:
            plan = removal.connection(tx, row)
            if plan.models:
                declaration.warnings.append(f"with connection {row.name!r} go its models {', '.join(plan.models)}")
    for user in [row for row in state.users.values() if row.owner == OWNER and row.name not in declaration.users]:
        plan = removal.user(tx, user)
        if plan.keys:
            declaration.warnings.append(f"with user {user.name!r} go {len(plan.keys)} keys")
    for price in [row for row in state.prices.values() if row.owner == OWNER]:
        if price.pattern not in declaration.prices:
            del state.prices[price.pattern]


def _settings(tx: Transaction, declaration: Declaration) -> None:
    kept = {row.name: row.value for row in tx.state.settings.values() if row.owner != OWNER}
    form = convert_form(SettingsForm, kept | declaration.settings, "settings")
    hub_settings.write(tx, form, OWNER)


def plan_of(tx: Transaction, declaration: Declaration, *, done: bool) -> Plan:
    """What differs, for people to read."""
    changes = []
    for difference in differences(tx.before, tx.state):
        fields = tuple(name for name in difference.fields if name not in _NOT_A_CHANGE)
        action = "create" if difference.before is None else "delete" if difference.after is None else "update"
        if action == "update" and not fields and difference.kind != "secret":
            continue
        state = tx.before if difference.after is None else tx.state
        name = state.label(difference.kind, difference.after or difference.before)
        changes.append(Change(action=action, kind=difference.kind, name=name, fields=fields))  # type: ignore[arg-type]
    return Plan(changes=tuple(changes), warnings=tuple(declaration.warnings), done=done)
