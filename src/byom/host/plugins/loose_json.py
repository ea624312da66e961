"""JSON as people write descriptors: with comments and trailing commas. Every value knows its line."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

DEEPEST = 50
Path = tuple[str | int, ...]
_GAP = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class LooseJsonError(ValueError):
    """What is not JSON, and its line (from 1)."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Document(NamedTuple):
    value: Any
    lines: dict[Path, int]
    """Where each value stands; a value of an object stands where its name does."""

    def line(self, *path: str | int) -> int:
        """Of this value or, where it is missing, of what it is missing in."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """``//`` and ``/* */`` comments, a comma before a closing bracket and a byte order mark are fine; what else is
    not JSON raises `LooseJsonError`."""
    reader = _Reader(text)
    value = reader.value((), 0)
    reader.gap()
    if reader.at < len(text):
        raise reader.problem(f"there is more after the end of the document: {reader.here()}")
    return Document(value, reader.lines)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}

    def value(self, path: Path, depth: int, line: int | None = None) -> Any:
        self.gap()
        self.lines[path] = line or self.line()
        if depth > DEEPEST:
            raise self.problem("brackets are nested too deeply")
        sign = self.text[self.at : self.at + 1]
        if sign == "{":
            return self._object(path, depth)
        if sign == "[":
            return self._array(path, depth)
        if sign == '"':
            return self.string()
        word = _WORD.match(self.text, self.at)
        if word is None:
            raise self.problem(f"a value was expected, not {self.here()}")
        self.at = word.end()
        return json.loads(word[0])

    def _object(self, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        while not self._closed("}", first=not found):
            line = self.line()
            if self.text[self.at : self.at + 1] != '"':
                raise self.problem(f'a name in "quotes" was expected, not {self.here()}')
            name = self.string()
            if name in found:
                raise self.problem(f"{name!r} stands twice in the same object", line)
            self.gap()
            if self.text[self.at : self.at + 1] != ":":
                raise self.problem(f"a colon was expected after {name!r}, not {self.here()}")
            self.at += 1
            found[name] = self.value((*path, name), depth + 1, line)
        return found

    def _array(self, path: Path, depth: int) -> list[Any]:
        found: list[Any] = []
        self.at += 1
        while not self._closed("]", first=not found):
            found.append(self.value((*path, len(found)), depth + 1))
        return found

    def _closed(self, bracket: str, *, first: bool) -> bool:
        """Whether the object or array ends here; if not, the next member does begin here."""
        self.gap()
        if not first and self.text[self.at : self.at + 1] == ",":
            self.at += 1
            self.gap()
        elif not first and self.text[self.at : self.at + 1] != bracket:
            raise self.problem(f"a comma or {bracket} was expected, not {self.here()}")
        if self.text[self.at : self.at + 1] == bracket:
            self.at += 1
            return True
        return False

    def string(self) -> str:
        try:
            text, self.at = scanstring(self.text, self.at + 1, True)  # noqa: FBT003 - it has no name
        except json.JSONDecodeError as error:
            raise LooseJsonError(f"a text is wrong: {error.msg.lower()}", error.lineno) from None
        return str(text)

    def gap(self) -> None:
        """Over blanks and comments."""
        found = _GAP.match(self.text, self.at)
        self.at = found.end() if found else self.at
        if self.text.startswith("/*", self.at):
            raise self.problem("a comment is not closed: */ is missing")

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def here(self) -> str:
        return repr(self.text[self.at : self.at + 12].split("\n")[0]) if self.at < len(self.text) else "the end"

    def problem(self, message: str, line: int | None = None) -> LooseJsonError:
        return LooseJsonError(message, line or self.line())
