"""Values for parameters: checked, brought to the type that the code expects, defaults filled in."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from byom.errors import ConfigError
from byom.host.plugins.parameters import LISTS, TABLES, Parameter

APART = frozenset({"SEPARATOR", "PRESET", "PRESETS", "CREDENTIAL_REQUEST"})
"""Filled in elsewhere: from presets, and for each caller."""
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ValueProblem(ConfigError):
    """A value that its parameter does not take; ``param`` is the parameter's name."""

    code = "invalid_parameter"


def merged(
    parameters: Sequence[Parameter], values: Mapping[str, Any], where: str, *, strict: bool = True
) -> dict[str, Any]:
    """``values`` in their types, with the defaults of those that are missing. Those that are filled in
    elsewhere (`APART`) are left out. ``where`` begins each message, such as ``model jev``.

    Raises `ValueProblem` for a value of the wrong kind, a missing one that is required, and, when ``strict``, a
    name that no parameter has.
    """
    declared: dict[str, list[Parameter]] = {}
    for one in parameters:
        if one.type not in APART:
            declared.setdefault(one.name, []).append(one)
    if strict:
        check_names(parameters, values, where)
    found = {}
    for name, alternatives in declared.items():
        value = _value(alternatives, values.get(name), where)
        if value is not None:
            found[name] = value
    return found


def check_names(parameters: Sequence[Parameter], values: Mapping[str, Any], where: str) -> None:
    """Raises `ValueProblem` for a name that no parameter has."""
    known = [one.name for one in parameters if one.name]
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It has: {', '.join(known) or 'none'}."
            raise ValueProblem(f"{where}: there is no parameter {name!r}. {hint}", param=str(name))


def _value(alternatives: Sequence[Parameter], given: Any, where: str) -> Any:
    """One name may be declared several times, for forms that show one or the other: the first that fits is taken."""
    if given is None or given == "":
        for one in alternatives:
            if one.default is not None:
                return coerced(one, one.default, f"{where}: its default")
        always = [one for one in alternatives if one.visible_if in (None, True)]
        if always and all(one.required for one in always):
            raise ValueProblem(f"{where}: {_named(always[0])} is missing. Give it a value.", param=always[0].name)
        return False if alternatives[0].type == "BOOLEAN" else None
    first: ValueProblem | None = None
    for one in alternatives:
        try:
            return coerced(one, given, where)
        except ValueProblem as problem:
            first = first or problem
    assert first is not None
    raise first


def coerced(parameter: Parameter, given: Any, where: str) -> Any:
    """``given`` as the type of the parameter. Text is read as the type's own notation, since forms and command lines
    have nothing else. Raises `ValueProblem`."""
    reader: Callable[[Parameter, Any, str], Any] = _READERS.get(parameter.type, _text)
    try:
        return reader(parameter, given, where)
    except ValueProblem:
        raise
    except (TypeError, ValueError) as error:
        shown = "the value" if parameter.secret else f"{given!r:.80}"
        raise ValueProblem(f"{where}: {_named(parameter)} takes {error}, not {shown}.", param=parameter.name) from None


def _named(parameter: Parameter) -> str:
    label = f" ({parameter.label})" if parameter.label and parameter.label != parameter.name else ""
    return f"{parameter.name}{label}"


def _text(parameter: Parameter, given: Any, where: str) -> str:  # noqa: ARG001
    if isinstance(given, str):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(given)
    raise TypeError("text")


def _number(parameter: Parameter, given: Any, where: str) -> int | float:  # noqa: ARG001
    whole = parameter.type in ("INT", "INTS")
    expected = "a whole number" if whole else "a number"
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise TypeError(expected)
    try:
        number = float(given)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if number != number or abs(number) == float("inf") or (whole and number != int(number)):
        raise ValueError(expected)
    low, high = parameter.minimum, parameter.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        limits = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
        raise ValueError(f"{expected} of {' and '.join(filter(None, limits))}")
    return (int(given) if isinstance(given, int) else int(number)) if whole else number


def _boolean(parameter: Parameter, given: Any, where: str) -> bool:  # noqa: ARG001
    if isinstance(given, bool):
        return given
    if isinstance(given, str) and given.strip().lower() in _TRUE + _FALSE:
        return given.strip().lower() in _TRUE
    raise TypeError("true or false")


def _date(parameter: Parameter, given: Any, where: str) -> str:  # noqa: ARG001
    expected = "a date such as 2026-03-31 or 2026-03-31T12:00:00Z"
    if not isinstance(given, str):
        raise TypeError(expected)
    try:
        datetime.fromisoformat(given)
    except ValueError:
        raise ValueError(expected) from None
    return given


def _choice(parameter: Parameter, given: Any, where: str) -> str:
    text = _text(parameter, str(given) if isinstance(given, bool) else given, where)
    values = [choice.value for choice in parameter.choices]
    if not values or text in values:
        return text
    by_label = {choice.label.casefold(): choice.value for choice in parameter.choices}
    if text.casefold() in by_label:
        return by_label[text.casefold()]
    raise ValueError(f"one of {', '.join(values)}")


def _list(parameter: Parameter, given: Any, where: str) -> list[Any]:
    items = _listed(given)
    read = {"INTS": _number, "DOUBLES": _number, "MULTISELECT": _choice}.get(parameter.type, _text)
    found = [read(parameter, item, where) for item in items]
    if not parameter.duplicates and len(set(found)) < len(found):
        raise ValueError("each value once")
    return found


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str):
        text = given.strip()
        if text.startswith("["):
            return _listed(json.loads(text))
        return [part for part in (one.strip() for one in re.split(r"[,\n]", text)) if part]
    if isinstance(given, Sequence):
        return list(given)
    raise TypeError("a list")


def _map(parameter: Parameter, given: Any, where: str) -> dict[str, Any]:  # noqa: ARG001
    if isinstance(given, str):
        given = _parsed(given, 'names and values such as {"a": "b"}')
    if not isinstance(given, Mapping):
        raise TypeError('names and values such as {"a": "b"}')
    return {str(name): value for name, value in given.items()}


def _pairs(parameter: Parameter, given: Any, where: str) -> list[dict[str, Any]]:  # noqa: ARG001
    expected = 'a list of {"from": …, "to": …}'
    if isinstance(given, str):
        given = _parsed(given, expected)
    if isinstance(given, Mapping):
        given = [{"from": name, "to": value} for name, value in given.items()]
    if not isinstance(given, list) or not all(isinstance(one, Mapping) and {"from", "to"} <= set(one) for one in given):
        raise TypeError(expected)
    return [{"from": one["from"], "to": one["to"]} for one in given]


def _table(parameter: Parameter, given: Any, where: str) -> list[Any]:
    if isinstance(given, str):
        given = _parsed(given, "a list of objects")
    if not isinstance(given, list):
        raise TypeError("a list of objects")
    if not parameter.fields:
        return given
    rows = []
    for place, row in enumerate(given, 1):
        if not isinstance(row, Mapping):
            raise TypeError("a list of objects")
        rows.append(merged(parameter.fields, row, f"{where}: {parameter.name}, row {place}"))
    return rows


def _parsed(text: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(expected) from None


_READERS: dict[str, Callable[[Parameter, Any, str], Any]] = {
    "INT": _number,
    "DOUBLE": _number,
    "BOOLEAN": _boolean,
    "DATE": _date,
    "SELECT": _choice,
    "MAP": _map,
    "KEY_VALUE_LIST": _pairs,
    **dict.fromkeys(LISTS | {"DATASETS", "COLUMNS", "DATASET_COLUMNS"}, _list),
    **dict.fromkeys(TABLES, _table),
}
