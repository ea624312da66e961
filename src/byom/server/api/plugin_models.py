"""What a plugin's folder and a caller's wishes make of a connection: presets, models, and which values are secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from byom.catalog.forms import ModelOptions, NeededCredential, PresetForm
from byom.host.plugins.configuration import ConfiguredModel, Preset, configuration, preset_values
from byom.host.plugins.folder import Component, ParameterSet, Plugin
from byom.host.plugins.parameters import Parameter
from byom.server.api.schemas.code import CodeModelIn, PresetIn


class PluginModel(NamedTuple):
    """A model of a plugin, ready to be stored."""

    name: str
    options: ModelOptions
    secrets: dict[str, str]
    """By their place in the parameters, such as ``password`` or ``server.password``."""
    abilities: tuple[str, ...]


class PluginParts(NamedTuple):
    presets: tuple[PresetForm, ...]
    models: tuple[PluginModel, ...]
    plugin_config: dict[str, Any]


def parts_of(
    plugin: Plugin, models: Sequence[CodeModelIn], presets: Sequence[PresetIn], plugin_config: Mapping[str, Any]
) -> PluginParts:
    """Raises `ConfigError` naming model, field and what mends it.

    A preset that a model names, or needs, and that is not given is made without values: what is in it may all be
    credentials, which users enter themselves.
    """
    wanted = list(models) or [CodeModelIn(id=one.id) for one in plugin.components]
    given = {one.name: _preset_of(plugin, one) for one in presets}
    made = [_configured(plugin, one, given) for one in wanted]
    document = configuration(plugin, made, list(given.values()), plugin_config)
    return PluginParts(
        presets=tuple(preset_form(plugin, one) for one in given.values()),
        models=tuple(_model(plugin, one, told) for one, told in zip(made, document["models"], strict=True)),
        plugin_config=dict(plugin_config),
    )


def _preset_of(plugin: Plugin, given: PresetIn) -> Preset:
    name = given.parameter_set
    if name is None:
        name = plugin.parameter_sets[0].id if len(plugin.parameter_sets) == 1 else ""
    return split_preset(plugin, Preset(name=given.name, parameter_set=name, values=given.values))


def split_preset(plugin: Plugin, preset: Preset) -> Preset:
    """With the values of fields that only administrators see apart."""
    declared = next((one for one in plugin.parameter_sets if one.id == preset.parameter_set), None)
    own = {one.name for one in declared.plugin_parameters} if declared is not None else set()
    values = {name: value for name, value in preset.values.items() if name not in own}
    return msgspec.structs.replace(
        preset, values=values, plugin_values={name: value for name, value in preset.values.items() if name in own}
    )


def preset_form(plugin: Plugin, preset: Preset) -> PresetForm:
    """As it is stored: whole, its secret values apart. Raises `ConfigError`."""
    values = preset_values(plugin, preset)
    secret = secret_fields(plugin.parameter_set(preset.parameter_set))
    return PresetForm(
        name=preset.name,
        parameter_set=preset.parameter_set,
        values={name: value for name, value in values.items() if name not in secret},
        secrets={name: str(value) for name, value in values.items() if name in secret and value not in (None, "")},
    )


def secret_fields(declared: ParameterSet) -> frozenset[str]:
    fields = (*declared.parameters, *declared.plugin_parameters)
    return frozenset(one.name for one in fields if one.type == "PASSWORD")


def _configured(plugin: Plugin, model: CodeModelIn, presets: dict[str, Preset]) -> ConfiguredModel:
    component = plugin.component(model.id)
    values = dict(model.params)
    for one in _preset_parameters(component):
        named = values.get(one.name) or one.default or _only(one, presets) or one.parameter_set
        if isinstance(named, str) and (one.name in values or one.required or _credentials(plugin, one)):
            presets.setdefault(named, Preset(name=named, parameter_set=one.parameter_set or ""))
            values[one.name] = named
    return ConfiguredModel(
        name=model.name or component.id,
        component=component.id,
        abilities=tuple(model.abilities or ()),
        values=values,
    )


def _preset_parameters(component: Component) -> list[Parameter]:
    return [one for one in component.parameters if one.type == "PRESET"]


def _credentials(plugin: Plugin, parameter: Parameter) -> bool:
    return bool(plugin.parameter_set(parameter.parameter_set or "").credentials)


def _only(parameter: Parameter, presets: Mapping[str, Preset]) -> str | None:
    """The one preset of the parameter's set that is given."""
    found = [one.name for one in presets.values() if one.parameter_set == parameter.parameter_set]
    return found[0] if len(found) == 1 else None


def _model(plugin: Plugin, configured: ConfiguredModel, told: Mapping[str, Any]) -> PluginModel:
    component = plugin.component(configured.component)
    presets = {
        one.name: str(configured.values[one.name])
        for one in _preset_parameters(component)
        if isinstance(configured.values.get(one.name), str)
    }
    config = {name: value for name, value in told["config"].items() if name not in presets}
    params, secrets = without_secrets(config, [place for place in told["secrets"] if place.split(".")[0] in config])
    return PluginModel(
        name=configured.name,
        options=ModelOptions(
            component=component.id,
            params=params,
            presets=presets,
            credentials=tuple(msgspec.convert(one, NeededCredential) for one in told["credentials"]),
        ),
        secrets=secrets,
        abilities=tuple(told["abilities"]),
    )


def without_secrets(config: Mapping[str, Any], places: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """``config`` without the values at these places, and those values."""
    rest = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    secrets: dict[str, str] = {}
    for place in places:
        name, _, field = place.partition(".")
        holder: Any = rest.get(name) if field else rest
        value = holder.pop(field or name, None) if isinstance(holder, dict) else None
        if value not in (None, ""):
            secrets[place] = str(value)
    return rest, secrets
