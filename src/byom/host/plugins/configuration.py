"""What a plugin's host is told: its models with their parameters, and which credentials each call needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from byom.errors import ConfigError
from byom.host.plugins.folder import Component, ParameterSet, Plugin
from byom.host.plugins.parameters import Parameter
from byom.host.plugins.values import ValueProblem, merged

ABILITIES = ("chat", "embed", "rerank")


class ConfiguredModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of a connection, as its owner filled in the form."""

    name: str
    component: str | None = None
    """May be left out where the plugin has one component."""
    abilities: tuple[str, ...] = ()
    """Empty: what the component's classes show."""
    values: dict[str, Any] = {}
    """By parameter. Of a PRESET: the preset's name, or an object with values of its own."""


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values of a parameter set under a name, for several models to use."""

    name: str
    parameter_set: str
    values: dict[str, Any] = {}
    plugin_values: dict[str, Any] = {}
    """Of the fields that only administrators see."""


def configuration(
    plugin: Plugin,
    models: Sequence[ConfiguredModel],
    presets: Sequence[Preset] = (),
    plugin_values: Mapping[str, Any] | None = None,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """``plugin_config`` and ``models`` of a host's configuration document, and ``plugin_secrets``: the names in
    ``plugin_config`` whose values are never shown.

    Each model has ``name``, ``component``, ``abilities``, ``config`` (defaults merged, presets inlined),
    ``credentials`` and ``secrets``. A credential says which secret of the calling user goes where: ``param``,
    ``preset``, ``field``, ``type``, ``label``; secrets are the places in ``config`` whose values are never shown.
    ``strict=False`` passes over values that no parameter has any more, after an update of the plugin. Raises
    `ConfigError` naming model, field and mend.
    """
    plugin_config = merged(plugin.parameters, plugin_values or {}, f"plugin {plugin.id}", strict=strict)
    inlining = _Inlining(plugin, presets, strict=strict)
    plugin_inlined, needed, secrets = inlining.presets_of(plugin.parameters, plugin_values or {}, f"plugin {plugin.id}")
    if needed:
        raise ConfigError(
            f"plugin {plugin.id}: {needed[0]['param']} asks for each user's own credential, which settings of the whole"
            " plugin cannot have: make it a parameter of the models",
            param=needed[0]["param"],
        )
    return {
        "plugin_config": plugin_config | plugin_inlined,
        "plugin_secrets": _passwords(plugin.parameters) + secrets,
        "models": [_model(plugin, one, inlining, strict=strict) for one in models],
    }


def preset_values(plugin: Plugin, preset: Preset, *, strict: bool = True) -> dict[str, Any]:
    """A preset's values as the code sees them, without credentials. Raises `ConfigError`."""
    found = _parameter_set(plugin, preset)
    where = f"preset {preset.name}"
    own = merged(found.parameters, preset.values, where, strict=strict)
    return merged(found.plugin_parameters, preset.plugin_values, where, strict=strict) | own


def parameter_sets_of(plugin: Plugin, component: Component) -> list[ParameterSet]:
    """The parameter sets that a model of this component needs presets of."""
    wanted = [one.parameter_set for one in component.parameters if one.type in ("PRESET", "PRESETS")]
    return [plugin.parameter_set(name) for name in dict.fromkeys(wanted) if name is not None]


def _parameter_set(plugin: Plugin, preset: Preset) -> ParameterSet:
    try:
        return plugin.parameter_set(preset.parameter_set)
    except KeyError:
        known = ", ".join(one.id for one in plugin.parameter_sets) or "none"
        raise ConfigError(
            f"preset {preset.name}: the plugin {plugin.id} has no parameter set {preset.parameter_set!r}"
            f" (it has: {known})",
            param="parameter_set",
        ) from None


def _model(plugin: Plugin, model: ConfiguredModel, inlining: _Inlining, *, strict: bool) -> dict[str, Any]:
    component = plugin.component(model.component)
    where = f"model {model.name}"
    for ability in model.abilities:
        if ability not in ABILITIES:
            raise ConfigError(f"{where}: {ability!r} is none of {', '.join(ABILITIES)}", param="abilities")
    config = merged(component.parameters, model.values, where, strict=strict)
    inlined, credentials, secrets = inlining.presets_of(component.parameters, model.values, where)
    return {
        "name": model.name,
        "component": component.id,
        "abilities": list(model.abilities or component.abilities),
        "config": config | inlined,
        "credentials": credentials,
        "secrets": _passwords(component.parameters) + secrets,
    }


def _passwords(parameters: Sequence[Parameter]) -> list[str]:
    return [one.name for one in parameters if one.type == "PASSWORD"]


class _Inlining:
    """Puts presets in the places of their names."""

    def __init__(self, plugin: Plugin, presets: Sequence[Preset], *, strict: bool) -> None:
        self.plugin = plugin
        self.strict = strict
        self.presets = {(one.parameter_set, one.name): one for one in presets}

    def presets_of(
        self, parameters: Sequence[Parameter], values: Mapping[str, Any], where: str
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[str]]:
        inlined: dict[str, Any] = {}
        credentials: list[dict[str, Any]] = []
        secrets: list[str] = []
        for one in parameters:
            if one.type == "PRESETS":
                inlined[one.name] = self._several(one, values.get(one.name), where)
            elif one.type == "PRESET":
                found = self._single(one, values.get(one.name), where)
                if found is None:
                    continue
                preset, inlined[one.name] = found
                declared = self.plugin.parameter_set(one.parameter_set or "")
                credentials += [_credential(one, preset, credential) for credential in declared.credentials]
                fields = (*declared.parameters, *declared.plugin_parameters)
                secrets += [f"{one.name}.{field.name}" for field in fields if field.type == "PASSWORD"]
        return inlined, credentials, secrets

    def _single(self, parameter: Parameter, given: Any, where: str) -> tuple[str, dict[str, Any]] | None:
        declared = self.plugin.parameter_set(parameter.parameter_set or "")
        if isinstance(given, Mapping):
            return "", self._inline(parameter, declared, given, where)
        chosen = self._chosen(parameter, given, where)
        if chosen is not None:
            return chosen.name, preset_values(self.plugin, chosen, strict=self.strict)
        if declared.credentials or parameter.required:
            raise ValueProblem(
                f"{where}: {parameter.name} needs a preset of the parameter set {declared.id}. Make one, and name it.",
                param=parameter.name,
            )
        return "", merged(
            declared.parameters, {}, f"{where}: {parameter.name}", strict=False
        ) if declared.inline else {}

    def _inline(
        self, parameter: Parameter, declared: ParameterSet, given: Mapping[str, Any], where: str
    ) -> dict[str, Any]:
        if not declared.inline:
            raise ValueProblem(
                f"{where}: {parameter.name} takes a preset of {declared.id}, and no values of its own.",
                param=parameter.name,
            )
        if declared.credentials:
            names = ", ".join(one.name for one in declared.credentials)
            raise ValueProblem(
                f"{where}: {parameter.name} needs each user's own credential ({names}):"
                " name a preset instead of values.",
                param=parameter.name,
            )
        fields = (*declared.parameters, *declared.plugin_parameters)
        return merged(fields, given, f"{where}: {parameter.name}", strict=self.strict)

    def _chosen(self, parameter: Parameter, given: Any, where: str) -> Preset | None:
        """The named preset; where none is named, the only one there is."""
        known = [one for (of, _), one in self.presets.items() if of == parameter.parameter_set]
        given = given if given not in (None, "") else parameter.default
        if given in (None, ""):
            return known[0] if len(known) == 1 else None
        for one in known:
            if one.name == given:
                return one
        names = ", ".join(one.name for one in known) or "none"
        raise ValueProblem(
            f"{where}: {parameter.name}: there is no preset {given!r} of {parameter.parameter_set}"
            f" (there are: {names}).",
            param=parameter.name,
        )

    def _several(self, parameter: Parameter, given: Any, where: str) -> list[dict[str, Any]]:
        declared = self.plugin.parameter_set(parameter.parameter_set or "")
        if declared.credentials and given:
            raise ValueProblem(
                f"{where}: {parameter.name} takes several presets, whose credentials cannot be told apart."
                " Use a PRESET.",
                param=parameter.name,
            )
        names = [given] if isinstance(given, str) else list(given or ())
        chosen = [self._chosen(parameter, name, where) for name in names]
        return [preset_values(self.plugin, one, strict=self.strict) for one in chosen if one is not None]


def _credential(parameter: Parameter, preset: str, credential: Parameter) -> dict[str, Any]:
    return {
        "param": parameter.name,
        "preset": preset,
        "field": credential.name,
        "type": credential.credential,
        "label": credential.label,
    }
