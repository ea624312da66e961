"""Forms derived from parameters: data that a web page or a terminal can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byom.host.plugins.folder import Plugin
from byom.host.plugins.parameters import Parameter

INPUTS = {
    "TEXTAREA": "textarea", "PASSWORD": "password", "INT": "integer", "DOUBLE": "number", "BOOLEAN": "checkbox",
    "DATE": "date", "SELECT": "select", "MULTISELECT": "multiselect", "STRINGS": "list", "INTS": "list",
    "DOUBLES": "list", "MAP": "map", "KEY_VALUE_LIST": "pairs", "OBJECT_LIST": "rows", "ARRAY": "rows",
    "PRESET": "preset", "PRESETS": "presets", "CREDENTIAL_REQUEST": "credential",
    "SEPARATOR": "heading", "LLM": "model",
}  # fmt: skip
"""How a field is entered; what is not here is one line of text."""


def fields_of(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """One object for each field: ``name``, ``type``, ``input``, ``label``, ``required``, ``secret`` always;
    ``default``, ``description``, ``choices``, ``minimum``, ``maximum``, ``fields``, ``parameter_set``, ``credential``
    and ``visible_if`` where they say something."""
    return [_field(one) for one in parameters]


def form_of(plugin: Plugin) -> dict[str, Any]:
    """The whole plugin: ``fields`` of its own settings, ``components``, ``parameter_sets``."""
    return {
        "id": plugin.id,
        "version": plugin.version,
        "digest": plugin.digest,
        "label": plugin.label,
        "description": plugin.description,
        "author": plugin.author,
        "url": plugin.url,
        "licence": plugin.licence,
        "fields": fields_of(plugin.parameters),
        "components": [
            {
                "id": one.id,
                "label": one.label,
                "description": one.description,
                "abilities": list(one.abilities),
                "fields": fields_of(one.parameters),
            }
            for one in plugin.components
        ],
        "parameter_sets": [
            {
                "id": one.id,
                "label": one.label,
                "description": one.description,
                "inline": one.inline,
                "fields": fields_of(one.parameters),
                "admin_fields": fields_of(one.plugin_parameters),
                "credentials": [{"name": c.name, "label": c.label, "type": c.credential} for c in one.credentials],
            }
            for one in plugin.parameter_sets
        ],
        "environment": None
        if plugin.code_env is None
        else {
            "requirements": requirement_lines(plugin.code_env.requirements),
            "interpreters": list(plugin.code_env.interpreters),
        },
        "warnings": [str(one) for one in plugin.warnings],
    }


def requirement_lines(text: str) -> list[str]:
    """Lines of a requirements file that say something."""
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _field(one: Parameter) -> dict[str, Any]:
    field: dict[str, Any] = {
        "name": one.name,
        "type": one.type,
        "input": INPUTS.get(one.type, "text"),
        "label": one.label,
        "required": one.required,
        "secret": one.secret,
    }
    more = {
        "description": one.description,
        "default": None if one.secret else one.default,
        "choices": [{"value": choice.value, "label": choice.label} for choice in one.choices],
        "minimum": one.minimum,
        "maximum": one.maximum,
        "fields": fields_of(one.fields),
        "parameter_set": one.parameter_set,
        "credential": one.credential,
        "visible_if": one.visible_if,
    }
    return field | {name: value for name, value in more.items() if value not in (None, "", [])}
