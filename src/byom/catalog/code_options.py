"""The options of connections whose models are code: checked, and kept as short as they were given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from byom.catalog.edits import convert_form
from byom.catalog.forms import CodeOptions
from byom.errors import ConfigError

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class CodeTarget(NamedTuple):
    """``place:object``; a plugin's folder has no object."""

    place: str
    object: str

    @property
    def is_module(self) -> bool:
        return bool(self.object) and not self.place.endswith(".py") and _MODULE.fullmatch(self.place) is not None

    @classmethod
    def of(cls, text: str) -> CodeTarget:
        """A colon in a path is part of it: only what follows the last one, and is a name, is the object."""
        place, colon, name = text.rpartition(":")
        if colon and _MODULE.fullmatch(name):
            return cls(place, name)
        return cls(text, "")


def whole_target(text: str, folder: str | None) -> str:
    """The target with its path whole: relative ones begin in ``folder``. A module's name stays as it is."""
    target = CodeTarget.of(text)
    if folder is None or target.is_module:
        return text
    path = (Path(folder) / Path(target.place).expanduser()).resolve()
    return f"{path}:{target.object}" if target.object else str(path)


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, each of them right. Raises `ConfigError` naming the field."""
    try:
        form = of(options)
    except ConfigError as error:
        raise ConfigError(str(error), param=f"options.{error.param}" if error.param else "options") from None
    if not form.target.strip():
        raise ConfigError("options: target: it is empty; give file.py:object or a folder", param="options.target")
    target = CodeTarget.of(form.target)
    if not target.is_module and not Path(target.place).is_absolute():
        raise ConfigError(
            f"options: target: {form.target!r} is no whole path. Give the path from / on: nobody can say in which "
            "folder the hub was started.",
            param="options.target",
        )
    given: dict[str, Any] = msgspec.to_builtins(form)
    return {name: value for name, value in given.items() if name == "target" or value != getattr(_DEFAULT, name)}


def of(options: Mapping[str, Any]) -> CodeOptions:
    """Raises `ConfigError` naming the field."""
    return convert_form(CodeOptions, {name: value for name, value in options.items() if value is not None}, "options")


_DEFAULT = CodeOptions(target="")
