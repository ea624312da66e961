"""The arguments of an engine as a checked list: names, types and bounds, never a command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from byom.errors import BadRequest


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: Literal["int", "float", "bool", "text", "texts", "floats", "object"]
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    flag: str | None = None
    """On the engine's command line; by default ``--name`` with dashes."""


class ArgumentsInvalid(BadRequest):
    code = "invalid_engine_argument"


_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def check_arguments(known: Sequence[Argument], given: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """The arguments by their own names and in their types; numbers and truth may come as text, as from a command line.

    Raises `ArgumentsInvalid` that names the argument and what is allowed. An argument that is ``None`` is left out.
    """
    by_name = {name: argument for argument in known for name in (argument.name, *argument.aliases)}
    checked: dict[str, Any] = {}
    for name, value in given.items():
        plain = name.lstrip("-").replace("-", "_")
        argument = by_name.get(plain)
        if argument is None:
            near = difflib.get_close_matches(plain, by_name, 1)
            names = ", ".join(sorted(argument.name for argument in known))
            hint = f"Did you mean {near[0]}?" if near else f"There are: {names}."
            raise ArgumentsInvalid(f"{engine} takes no argument {name}. {hint}", param=name)
        if value is not None:
            checked[argument.name] = _checked(argument, value, engine)
    return checked


def _checked(argument: Argument, value: Any, engine: str) -> Any:
    try:
        found = _CONVERT[argument.type](value)
    except (TypeError, ValueError):
        raise _refused(argument, value, engine) from None
    for number in found if argument.type == "floats" else [found]:
        if isinstance(number, int | float) and not isinstance(number, bool):
            low = argument.least is not None and number < argument.least
            if low or (argument.most is not None and number > argument.most):
                raise _refused(argument, value, engine)
    texts = found if argument.type == "texts" else [found] if argument.type == "text" else []
    for text in texts:
        if (argument.choices and text not in argument.choices) or "\0" in text:
            raise _refused(argument, value, engine)
    return found


def _refused(argument: Argument, value: Any, engine: str) -> ArgumentsInvalid:
    return ArgumentsInvalid(f"{engine}: {argument.name} is {value!r}. Give {allowed(argument)}.", param=argument.name)


def allowed(argument: Argument) -> str:
    """``a whole number from 1 to 8``."""
    if argument.choices:
        return f"one of {', '.join(argument.choices)}"
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "text": "a text",
        "texts": "a list of texts",
        "floats": "a list of numbers",
        "object": "an object",
    }
    bounds = ""
    if argument.least is not None:
        bounds += f" from {argument.least:g}"
    if argument.most is not None:
        bounds += f" to {argument.most:g}" if bounds else f" up to {argument.most:g}"
    elif bounds:
        bounds += " on"
    return words[argument.type] + bounds


def _int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(value)
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(value)
    return text in _TRUE


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if not isinstance(value, str | int | float):
        raise TypeError(value)
    return str(value)


def _texts(value: Any) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    return [_text(part) for part in parts]


def _floats(value: Any) -> list[float]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    return [_float(part) for part in parts]


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = msgspec.json.decode(value)
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "text": _text,
    "texts": _texts,
    "floats": _floats,
    "object": _object,
}


def flags(known: Sequence[Argument], checked: Mapping[str, Any]) -> list[str]:
    """Checked arguments as an engine's flags: ``--name value``, and ``--name`` alone where it is true."""
    words: list[str] = []
    for argument in known:
        if argument.name not in checked:
            continue
        value, flag = checked[argument.name], argument.flag or f"--{argument.name.replace('_', '-')}"
        if argument.type == "bool":
            words += [flag] if value else []
        elif argument.type in ("texts", "floats"):
            words += [flag, *(str(part) for part in value)]
        elif argument.type == "object":
            words += [flag, msgspec.json.encode(value).decode()]
        else:
            words += [f"{flag}={value}"]  # one word: a value that begins with a dash stays a value
    return words
