"""Reads the fields of one JSON object, and says of each what is wrong with it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from byom.runtime.specs.problems import Problems

_LARGEST = 2**31 - 1


def shown(value: object) -> str:
    """A value as JSON, cut to what a message bears."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def one_of(names: Sequence[str]) -> str:
    return f"Give one of {', '.join(names)}"


class Fields:
    """A cursor over an object at ``path``. A field that is absent or ``null`` reads as ``None``."""

    def __init__(self, value: Mapping[str, Any], path: str, problems: Problems) -> None:
        self.value = value
        self.path = path
        self.problems = problems
        self._read: set[str] = set()

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, what: str, mend: str) -> None:
        self.problems.add(self.at(name), what, mend)

    def raw(self, name: str) -> Any:
        self._read.add(name)
        return self.value.get(name)

    def text(self, name: str, *, required: str = "", choices: Sequence[str] = ()) -> str | None:
        """``required``: the mend for where it is absent; empty where it may be."""
        value = self.raw(name)
        if value is None or value == "":
            if required:
                self.wrong(name, "is missing", required)
            return None
        if not isinstance(value, str):
            self.wrong(name, f"is {shown(value)}, not a text", "Put it in quotation marks")
            return None
        if choices and value not in choices:
            near = difflib.get_close_matches(value, choices, 1)
            self.wrong(name, f"is {shown(value)}", f"Did you mean {near[0]}?" if near else one_of(choices))
            return None
        return value

    def whole(self, name: str, *, least: int = 1) -> int | None:
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
            self.wrong(name, f"is {shown(value)}", f"Give a whole number from {least} to {_LARGEST}")
            return None
        return value

    def size(self, name: str, *, required: str = "") -> str | None:
        """Billions of parameters: 2, 1.8, "1.8" and "1_8" are all understood. The answer is a decimal as text."""
        value = self.raw(name)
        if value is None:
            if required:
                self.wrong(name, "is missing", required)
            return None
        size = normal_size(value)
        if size is None:
            self.wrong(name, f"is {shown(value)}", 'Give billions of parameters, such as 7, 1.8 or "1_8"')
        return size

    def texts(self, name: str, *, required: str = "", choices: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts; one text alone is taken as a list of it."""
        value = self.raw(name)
        if isinstance(value, str):
            value = [value]
        if not value and not isinstance(value, dict | int):
            if required:
                self.wrong(name, "is missing" if value is None else "is empty", required)
            return ()
        if not isinstance(value, list | tuple):
            self.wrong(name, f"is {shown(value)}, not a list", "Give a list of texts")
            return ()
        found = []
        for position, item in enumerate(value):
            if not isinstance(item, str) or not item:
                self.wrong(f"{name}[{position}]", f"is {shown(item)}, not a text", "Put it in quotation marks")
            elif choices and item not in choices:
                near = difflib.get_close_matches(item, choices, 1)
                mend = f"Did you mean {near[0]}?" if near else one_of(choices)
                self.wrong(f"{name}[{position}]", f"is {shown(item)}", mend)
            elif item not in found:
                found.append(item)
        return tuple(found)

    def wholes(self, name: str) -> tuple[int, ...]:
        value = self.raw(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or any(
            isinstance(item, bool) or not isinstance(item, int) or item < 0 for item in value
        ):
            self.wrong(name, f"is {shown(value)}", "Give a list of whole numbers, such as [2, 32000]")
            return ()
        return tuple(value)

    def objects(self, name: str, *, required: str = "") -> Iterator[Fields]:
        """A list of objects, each as `Fields`."""
        value = self.raw(name)
        if not value and not isinstance(value, dict):
            if required:
                self.wrong(name, "is missing" if value is None else "is empty", required)
            return
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list | tuple):
            self.wrong(name, f"is {shown(value)}, not a list", "Give a list of objects")
            return
        for position, item in enumerate(value):
            path = self.at(f"{name}[{position}]")
            if isinstance(item, dict):
                yield Fields(item, path, self.problems)
            else:
                self.problems.add(path, f"is {shown(item)}, not an object", "Write it as {…}")

    def rest(self, known: Sequence[str] = ()) -> dict[str, Any]:
        """The fields that nothing has read. One whose name is nearly a known one gets a note."""
        left = {name: value for name, value in self.value.items() if name not in self._read}
        names = [*self._read, *known]
        for name in left:
            near = difflib.get_close_matches(name, names, 1, 0.85)
            if near and name not in known:
                self.problems.note(f"{self.at(name)} is not known and was not used. Did you mean {near[0]}?")
        return left


def normal_size(value: object) -> str | None:
    """``7``, ``7.0``, ``"1_8"``, ``"1.8"`` as ``"7"``, ``"7"``, ``"1.8"``, ``"1.8"``; ``None`` where it is no size."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip().lower().removesuffix("b").replace("_", ".")
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 < number < 10**6:
        return None
    return format(number.normalize(), "f")
