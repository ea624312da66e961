"""Writing a byom.toml of what there is. Secrets are left out; applied to the same catalog, it changes nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import Table

from byom.catalog import bootstrap, code_models, connections, hub_settings, models, users
from byom.catalog.edits import convert_form
from byom.catalog.forms import ConnectionForm, Form, ModelForm, PresetForm, PriceForm, SettingsForm, UserForm
from byom.catalog.state import ConnectionRow, PresetRow, State
from byom.upstream.url import parse_endpoint

HEAD = """\
What this hub knows, without secrets. Apply it with: byom apply byom.toml
Give a connection its key by key_env = "VARIABLE" or key_file = "PATH"; without one, a stored key stays.
"""


def export_declaration(state: State) -> str:
    """The text of a byom.toml."""
    document = tomlkit.document()
    for line in HEAD.splitlines():
        document.add(tomlkit.comment(line))
    sections: dict[str, dict[str, Table]] = {
        "connections": {row.name: _connection(row, state) for row in state.connections.values()},
        "models": _models(state),
        "prices": {row.pattern: _table(row.price, PriceForm(input=Decimal(-1), output=Decimal(-1)))
                   for row in state.prices.values()},
        "users": _users(state),
    }  # fmt: skip
    builtin = sections["connections"].get(bootstrap.BUILTIN)
    if builtin is not None and dict(builtin) == {"kind": "builtin"}:
        del sections["connections"][bootstrap.BUILTIN]
    if state.settings:
        table = tomlkit.table()
        form = hub_settings.form_of(state)
        for name in state.settings:
            table.add(name, _value(_differing(getattr(form, name), getattr(SettingsForm(), name))))
        document.add("settings", table)
    for name, tables in sections.items():
        if tables:
            section = tomlkit.table(is_super_table=True)
            for key, table in tables.items():
                section.add(key, table)
            document.add(name, section)
    return tomlkit.dumps(document)


def _connection(row: ConnectionRow, state: State) -> Table:
    form = convert_form(ConnectionForm, connections.plain_fields(row), "connection")
    form = msgspec.structs.replace(form, base_path=_base_path(row), headers=row.headers)
    table = _table(form, ConnectionForm(name=row.name))
    headers_env = tomlkit.inline_table()
    for secret in state.secrets_of(row.id):
        way, _, place = secret.source.partition(":")
        header = secret.name.removeprefix("header:")
        if secret.name == "key" and place:
            table.add("key_env" if way == "env" else "key_file", place)
        elif way == "env" and place:
            headers_env.add(header, place)
        elif not secret.name.startswith(("model:", "preset:")):
            what = "a key" if secret.name == "key" else f"the header {header}"
            table.add(tomlkit.comment(f"{what} is stored, and is not exported"))
    if headers_env:
        table.add("headers_env", headers_env)
    presets = tomlkit.table(is_super_table=True)
    for preset in state.presets_of(row.id):
        presets.add(preset.name, _table(_preset(preset), PresetForm(name=preset.name)))
    if presets:
        table.add("presets", presets)
    return table


def _preset(row: PresetRow) -> PresetForm:
    return PresetForm(name=row.name, parameter_set=row.parameter_set, values=row.values)


def _base_path(row: ConnectionRow) -> str | None:
    """Only where the URL alone would be read differently."""
    if row.url is None:
        return None
    endpoint = parse_endpoint(row.url)
    return None if endpoint.candidates()[0] == endpoint.base_path else endpoint.base_path


def _models(state: State) -> dict[str, Table]:
    tables = {}
    for row in state.models.values():
        form = convert_form(ModelForm, models.fields_of(row, state), "model")
        form = msgspec.structs.replace(form, details={})
        following = dict.fromkeys(code_models.following(row))
        if following:
            default = ModelForm(name="", connection="")
            form = msgspec.structs.replace(form, **{name: getattr(default, name) for name in following})
        if form.upstream_model == form.name:
            form = msgspec.structs.replace(form, upstream_model=None)
        if form not in bootstrap.BUILTIN_MODELS:
            tables[row.name] = _table(form, ModelForm(name=row.name, connection=""))
    return tables


def _users(state: State) -> dict[str, Table]:
    forms = [convert_form(UserForm, users.fields_of(row), "user") for row in state.users.values()]
    return {form.name: _table(form, UserForm(name=form.name)) for form in forms if form != bootstrap.ADMIN_USER}


def _table(form: Form, default: Form) -> Table:
    """The fields that differ from ``default``, and in their parts too."""
    table = tomlkit.table()
    for name in form.__struct_fields__:
        value, usual = getattr(form, name), getattr(default, name)
        if value != usual:
            table.add(name, _value(_differing(value, usual)))
    return table


def _differing(value: Any, usual: Any) -> Any:
    if isinstance(value, msgspec.Struct) and type(value) is type(usual):
        names = value.__struct_fields__
        return {name: getattr(value, name) for name in names if getattr(value, name) != getattr(usual, name)}
    return value


def _value(value: Any) -> Any:
    """As TOML has it: no null, sets in order, money as text."""
    plain = msgspec.to_builtins(value, str_keys=True, order="deterministic")
    return _inline(plain)


def _inline(plain: Any) -> Any:
    if isinstance(plain, dict):
        table = tomlkit.inline_table()
        for name, value in plain.items():
            if value is not None:
                table.add(name, _inline(value))
        return table
    if isinstance(plain, list | tuple):
        array = tomlkit.array()
        for value in plain:
            array.append(_inline(value))
        return array
    return plain
