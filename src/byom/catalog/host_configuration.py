"""What the process of a connection is told: its code, its models' parameters, and the secrets that belong to it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from byom.catalog import credentials, user_credentials
from byom.catalog.code_options import of as options_of
from byom.catalog.host_document import HostConfiguration
from byom.catalog.state import ConnectionRow, ModelRow, State
from byom.catalog.vault import Vault

SETTINGS = ("python", "workers", "threads", "queue", "timeout", "memory_mb")


def configuration_of(row: ConnectionRow, state: State, vault: Vault, *, hub_url: str, alone: bool) -> HostConfiguration:
    """The configuration of a connection of kind ``code``. Raises `ConfigError` where its options are not right.

    ``alone``: the hub has no keys, so that whoever calls is the user ``admin``.
    """
    options = options_of(row.options)
    secrets = {one.name: credentials.reveal(vault, one) for one in state.secrets_of(row.id)}
    handed = {"args": options.args, "instances": options.instances, "rename": options.rename}
    inner: dict[str, Any] = {name: value for name, value in handed.items() if value}
    if "key" in secrets:
        inner["api_key"] = secrets["key"]
    document: dict[str, Any] = {"target": options.target, "form": options.form}
    document |= {name: getattr(options, name) for name in SETTINGS}
    document |= {"options": inner, "plugin_config": options.plugin_config, "hub_url": hub_url}
    models = [row_ for row_ in state.models_of(row.id) if row_.enabled and row_.options.component]
    document["models"] = [_model(one, state, secrets) for one in models]
    document["users"] = _users(row, state, vault, alone=alone) if models else {}
    digest = hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()
    return HostConfiguration(connection_id=row.id, name=row.name, eager=options.eager, document=document, digest=digest)


def _model(row: ModelRow, state: State, secrets: dict[str, str]) -> dict[str, Any]:
    """A model of a plugin, its presets' values in the places of their names."""
    options = row.options
    config = dict(options.params)
    for param, name in options.presets.items():
        preset = next((one for one in state.presets_of(row.connection_id) if one.name == name), None)
        if preset is not None:
            config[param] = preset.values | _secret_values(secrets, f"preset:{preset.id}:")
    for place, value in _secret_values(secrets, f"model:{row.id}:").items():
        name, _, field = place.partition(".")
        config[name] = {**config.get(name, {}), field: value} if field else value
    needed = [
        {"param": one.param, "preset": user_credentials.preset_of(row, one), "field": one.field, "type": one.type}
        for one in options.credentials
    ]
    return {
        "name": row.upstream_model,
        "component": options.component,
        "abilities": ["chat"] if row.abilities is None else list(row.abilities),
        "config": config,
        "credentials": needed,
    }


def _secret_values(secrets: dict[str, str], beginning: str) -> dict[str, str]:
    return {name.removeprefix(beginning): value for name, value in secrets.items() if name.startswith(beginning)}


def _users(row: ConnectionRow, state: State, vault: Vault, *, alone: bool) -> dict[str, Any]:
    """Every user who may call, so that one whose credential is missing can be told by name."""
    entered = user_credentials.of_connection(vault, state, row.name)
    users: dict[str, Any] = {
        user.id: {"name": user.name, "credentials": entered.get(user.id, {})}
        for user in state.users.values()
        if not user.disabled
    }
    admin = state.user("admin")
    if alone and admin is not None and admin.id in users:
        users[""] = users[admin.id]
    return users
