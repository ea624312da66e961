"""Making and changing presets: their values are checked against the plugin's parameter sets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from byom.catalog import code_models, code_options, connections, presets
from byom.catalog.records import Preset
from byom.errors import ConfigError
from byom.host.plugins import configuration, folder
from byom.server.api.plugin_models import preset_form, secret_fields, split_preset
from byom.server.api.schemas.code import PresetIn, PresetPatch
from byom.server.api.services import Hub


async def create(hub: Hub, connection: str, body: PresetIn, actor: str) -> Preset:
    """Raises `ConfigError` naming the field, `Conflict`, `NotFound`."""
    plugin = await _plugin(hub, connection)
    name = body.parameter_set
    if name is None:
        if len(plugin.parameter_sets) != 1:
            known = ", ".join(one.id for one in plugin.parameter_sets) or "none"
            raise ConfigError(f"parameter_set: say of which one; the plugin has: {known}", param="parameter_set")
        name = plugin.parameter_sets[0].id
    given = configuration.Preset(name=body.name, parameter_set=name, values=body.values)
    form = preset_form(plugin, split_preset(plugin, given))
    return await hub.catalog.presets.create(connection, form, actor=actor)


async def update(hub: Hub, connection: str, name: str, body: PresetPatch, actor: str) -> Preset:
    """Raises as `create` does. ``None`` takes a value out; those that are not named stay."""
    plugin = await _plugin(hub, connection)
    row = presets.find(hub.catalog.state, connection, name)
    declared = next((one for one in plugin.parameter_sets if one.id == row.parameter_set), None)
    if declared is None:
        raise ConfigError(f"the plugin has no parameter set {row.parameter_set!r} any more", param="parameter_set")
    secret = secret_fields(declared)
    kept = {field: value for field, value in {**row.values, **body.values}.items() if value is not None}
    given = configuration.Preset(name=name, parameter_set=row.parameter_set, values=kept)
    form = preset_form(plugin, split_preset(plugin, given))
    values = {**dict.fromkeys(row.values), **form.values}
    secrets = {field: value for field, value in body.values.items() if field in secret}
    return await hub.catalog.presets.update(connection, name, {"values": values, "secrets": secrets}, actor=actor)


async def _plugin(hub: Hub, connection: str) -> folder.Plugin:
    code_models.require_code(hub.catalog, connection)
    options = code_options.of(connections.find(hub.catalog.state, connection).options)
    if options.form != "plugin":
        raise ConfigError(f"connection {connection!r} is no plugin, and has no presets", param="connection")
    return await asyncio.to_thread(folder.read, Path(options.target))
