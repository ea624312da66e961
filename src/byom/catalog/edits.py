"""From what a caller sent to a checked form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from byom.catalog.forms import Form
from byom.errors import ConfigError

AnyForm = TypeVar("AnyForm", bound=Form)


def convert_form(form: type[AnyForm], fields: Mapping[str, Any], what: str) -> AnyForm:
    """A form from plain data. Raises `ConfigError` that names the field and says what it may be."""
    defaults = {field.name for field in msgspec.structs.fields(form) if field.default is not None}
    given = {name: value for name, value in fields.items() if not (value is None and name in defaults)}
    try:
        return msgspec.convert(given, form)
    except msgspec.ValidationError as error:
        raise _named(str(error), what, form) from None


def merge(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``present`` with ``changes``, part by part; ``None`` takes a field out (RFC 7396)."""
    merged = dict(present)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            inner = merged.get(name)
            merged[name] = merge(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def _named(message: str, what: str, form: type[Form]) -> ConfigError:
    """msgspec ends its message with the place: ``… - at `$.limits.concurrency```."""
    found = re.search(r" - at `\$\.?([^`]*)`$", message)
    field = found[1] if found else ""
    text = message[: found.start()] if found else message
    unknown = re.search(r"unknown field `([^`]*)`", text)
    if unknown:
        field = f"{field}.{unknown[1]}".lstrip(".")
        text = "there is no such field" + ("" if "." in field else _there_are(form, unknown[1]))
    missing = re.search(r"missing required field `([^`]*)`", text)
    if missing:
        field = f"{field}.{missing[1]}".lstrip(".")
        text = "it is required"
    return ConfigError(f"{what}: {field or 'fields'}: {text[:1].lower()}{text[1:]}", param=field or None)


def _there_are(form: type[Form], wrong: str) -> str:
    import difflib

    near = difflib.get_close_matches(wrong, form.__struct_fields__, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(form.__struct_fields__)}"
