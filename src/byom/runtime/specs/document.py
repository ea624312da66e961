"""A spec's text, JSON or TOML, as an object."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, NoReturn

from byom.runtime.specs.problems import Problem, SpecInvalid

LONGEST = 1024 * 1024
_TABLE = re.compile(r"\[\[?[A-Za-z_][\w.-]*\]\]?")


def read_document(text: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    """The object of a spec. Raises `SpecInvalid` with line and column of what is not JSON or TOML."""
    if isinstance(text, Mapping):
        return dict(text)
    if len(text) > LONGEST:
        _refuse(f"has {len(text)} characters", f"A spec has at most {LONGEST}")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            _refuse(f"is not UTF-8 at byte {error.start}", "Save the file as UTF-8", error)
    text = text.removeprefix("\ufeff")
    value = _json(text) if text.lstrip()[:1] in ("{", "[", '"') and not _toml_table(text) else _toml(text)
    if isinstance(value, str):  # JSON in JSON, as clients that encode twice send it
        return read_document(value)
    if not isinstance(value, dict):
        _refuse("is a list" if isinstance(value, list) else "is not an object", "Write one object: {…}")
    return value


def _toml_table(text: str) -> bool:
    first = text.lstrip().split("\n", 1)[0].strip()
    return _TABLE.fullmatch(first) is not None


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        _refuse("is nested too deeply", "Write it flat", error)
    except ValueError as error:
        _refuse(f"is not JSON: {error}", _json_mend(text), error)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _json_mend(text: str) -> str:
    for sign, mend in (("None", "In JSON it is null, not None"), ("True", "In JSON it is true, not True")):
        if f": {sign}" in text:
            return f"{mend}; in Python, json.dumps writes it"
    return "Mend the text at that place"


def _toml(text: str) -> Any:
    if not text.strip():
        _refuse("is empty", "Write a JSON or TOML object")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _refuse(f"is neither JSON nor TOML: {error}", "A JSON spec begins with {", error)


def _refuse(what: str, mend: str, cause: BaseException | None = None) -> NoReturn:
    raise SpecInvalid([Problem("$", what, mend)]) from cause
