"""Values of plugin code as plain data: dictionaries, lists, numbers and text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DICTIONARY_METHODS = ("model_dump", "to_dict", "dict", "_asdict")
"""Of pydantic 2, of SDKs and spans, of pydantic 1, of named tuples."""


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """A mapping or an object of a model's kind as a mapping, ``None`` for anything else."""
    if isinstance(value, Mapping):
        return value
    if value is None or isinstance(value, (str, bytes, int, float, list, type)):
        return None
    for name in DICTIONARY_METHODS:
        method = getattr(value, name, None)
        if callable(method):
            found = method()
            if isinstance(found, Mapping):
                return found
    return None


def as_text(value: Any) -> str:
    """Text as it is; data as JSON, since models that answer in JSON may hand it over parsed."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str)


def as_count(value: Any) -> int | None:
    """A number of tokens, ``None`` for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value != value:
        return None
    return int(value)


def as_vector(value: Any) -> list[float]:
    """A list of numbers, from lists, tuples, arrays and tensors. Raises `ValueError`, `TypeError` for anything else."""
    if isinstance(value, (str, bytes, Mapping)) or value is None:
        raise TypeError("a vector is a list of numbers")
    listed = value.tolist() if hasattr(value, "tolist") else value
    return [float(number) for number in listed]
