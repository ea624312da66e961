"""Builds a JSON value that satisfies a simple JSON schema, with given texts where strings are wanted.

Simple means: types, enum, const, properties, required, items, sizes and bounds, anyOf, and references within
the schema. A keyword whose meaning cannot be guaranteed raises `UnsupportedSchema` instead of being skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

_MAX_DEPTH = 32
_ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
    | {"deprecated", "readOnly", "writeOnly", "contentMediaType", "contentEncoding"}
)
_KNOWN = frozenset(
    {"type", "enum", "const", "anyOf", "allOf", "$ref"}
    | {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
    | {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}
    | {"minLength", "maxLength", "format"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "nobody@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
_IMPLIED = {
    "properties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minLength": "string",
    "maxLength": "string",
    "minimum": "number",
    "maximum": "number",
}


class UnsupportedSchema(ValueError):
    """The schema uses something that this generator cannot promise to satisfy."""


def schema_instance(schema: dict[str, Any], texts: Sequence[str]) -> Any:
    """A value for ``schema``; strings are taken from ``texts`` in turn. Raises `UnsupportedSchema`."""
    return _Generator(schema, texts).value(schema, 0)


class _Generator:
    def __init__(self, root: dict[str, Any], texts: Sequence[str]) -> None:
        self._root = root
        self._texts = list(texts) or [""]
        self._taken = 0
        self._makers: dict[str, Callable[[dict[str, Any], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._number,
            "boolean": lambda _schema, _depth: False,
            "null": lambda _schema, _depth: None,
        }

    def value(self, schema: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise UnsupportedSchema("the schema nests too deeply or refers to itself without an end")
        if schema is True:
            return self._next_text()
        if not isinstance(schema, dict):
            raise UnsupportedSchema("a part of the schema is not an object")
        unknown = set(schema) - _KNOWN - _ANNOTATIONS
        if unknown:
            raise UnsupportedSchema(f"the keyword {min(unknown)!r} is not supported")
        return self._known(schema, depth)

    def _known(self, schema: dict[str, Any], depth: int) -> Any:
        if "$ref" in schema:
            return self.value(self._resolve(schema["$ref"]), depth + 1)
        for combined in ("anyOf", "allOf"):
            if combined in schema:
                return self._combined(schema, combined, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choice(schema["enum"])
        return self._makers[self._type(schema)](schema, depth)

    def _combined(self, schema: dict[str, Any], keyword: str, depth: int) -> Any:
        branches = schema[keyword]
        if not isinstance(branches, list) or not branches:
            raise UnsupportedSchema(f"{keyword!r} has no branches")
        if keyword == "allOf" and len(branches) > 1:
            raise UnsupportedSchema("'allOf' with several branches is not supported")
        if set(schema) - _ANNOTATIONS - {keyword}:
            raise UnsupportedSchema(f"{keyword!r} beside other keywords is not supported")
        reasons: list[str] = []
        for branch in branches:
            try:
                return self.value(branch, depth + 1)
            except UnsupportedSchema as error:
                reasons.append(str(error))
        raise UnsupportedSchema(reasons[0])

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnsupportedSchema("only references within the schema are supported")
        found: Any = self._root
        for part in reference[1:].strip("/").split("/") if reference != "#" else ():
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise UnsupportedSchema(f"the reference {reference!r} leads nowhere")
            found = found[key]
        return found

    def _type(self, schema: dict[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            kind = next((name for name in kind if name != "null"), "null")
        if kind is None:
            kind = next((_IMPLIED[key] for key in schema if key in _IMPLIED), "string")
        if kind not in self._makers:
            raise UnsupportedSchema(f"the type {kind!r} is not known")
        return str(kind)

    def _choice(self, options: Any) -> Any:
        if not isinstance(options, list) or not options:
            raise UnsupportedSchema("'enum' has no values")
        said = " ".join(self._texts).casefold()
        return next((each for each in options if isinstance(each, str) and each.casefold() in said), options[0])

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise UnsupportedSchema("'properties' must be an object and 'required' a list")
        made: dict[str, Any] = {}
        for name, part in properties.items():
            try:
                made[name] = self.value(part, depth + 1)
            except UnsupportedSchema:
                if name in required:
                    raise
        extra = schema.get("additionalProperties", True)
        for name in required:
            if name not in made:
                if extra is False:
                    raise UnsupportedSchema(f"{name!r} is required but not allowed")
                made[name] = self.value(extra, depth + 1)
        if not int(schema.get("minProperties", 0)) <= len(made) <= int(schema.get("maxProperties", len(made))):
            raise UnsupportedSchema("the number of properties cannot be met")
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        low, high = int(schema.get("minItems", 0)), schema.get("maxItems")
        count = max(low, min(len(self._texts), 5) if "items" in schema and depth < 8 else 0)
        count = count if high is None else min(count, int(high))
        if count < low or count > 10_000:
            raise UnsupportedSchema("the number of items cannot be met")
        made = [self.value(part, depth + 1) for part in first[:count]]
        rest = schema.get("items", True)
        if rest is False:
            count = min(count, len(made))
        made += [self.value(rest, depth + 1) for _ in range(count - len(made))]
        if schema.get("uniqueItems"):
            made = [item for position, item in enumerate(made) if item not in made[:position]]
        if len(made) < low:
            raise UnsupportedSchema("enough different items cannot be made")
        return made

    def _string(self, schema: dict[str, Any], _depth: int) -> str:
        if "format" in schema:
            if schema["format"] not in _FORMATS:
                raise UnsupportedSchema(f"the format {schema['format']!r} is not supported")
            text = _FORMATS[schema["format"]]
            if not int(schema.get("minLength", 0)) <= len(text) <= int(schema.get("maxLength", len(text))):
                raise UnsupportedSchema("the format does not fit the length")
            return text
        low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
        if low > 100_000 or (high is not None and low > int(high)):
            raise UnsupportedSchema("the length cannot be met")
        text = self._next_text().ljust(low, ".")
        return text if high is None else text[: int(high)]

    def _number(self, schema: dict[str, Any], _depth: int) -> float | int:
        step = schema.get("multipleOf", 1)
        if step <= 0 or (self._type(schema) == "integer" and step != int(step)):
            raise UnsupportedSchema("'multipleOf' cannot be met")
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
        start = max(low, above)
        if start <= 0 <= min(high, below) and above < 0 < below:
            return 0
        if start == -math.inf or start < 0:
            number = math.floor(min(high, below) / step) * step
            number -= step if number >= below else 0
        else:
            number = math.ceil(start / step) * step
            number += step if number <= above else 0
        if not (low <= number <= high and above < number < below):
            return self._between(schema, max(low, above), min(high, below))
        return int(number) if number == int(number) else number

    def _between(self, schema: dict[str, Any], low: float, high: float) -> float:
        middle = (low + high) / 2
        if self._type(schema) == "integer" or "multipleOf" in schema or not low <= middle <= high:
            raise UnsupportedSchema("no number lies within the bounds")
        if middle in (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")):
            raise UnsupportedSchema("no number lies within the bounds")
        return middle

    def _next_text(self) -> str:
        text = self._texts[self._taken % len(self._texts)]
        self._taken += 1
        return text
