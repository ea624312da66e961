"""The trace that plugin code writes into: nested spans, as plain data in the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from types import TracebackType
from typing import Any


class Span:
    """A piece of work with begin and end. ``with trace.subspan("search") as span: span.attributes["hits"] = 3``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attributes: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.children: list[Any] = []
        self._began: datetime | None = None
        self._ended: datetime | None = None

    def begin(self) -> Span:
        self._began = _now()
        return self

    def end(self) -> Span:
        self._ended = _now()
        return self

    def subspan(self, name: str) -> Span:
        child = Span(name)
        self.children.append(child)
        return child

    def event(self, name: str) -> Span:
        """A moment: a span without a length. Its attributes may be filled in."""
        child = _Moment(name)
        self.children.append(child)
        return child

    def append_trace(self, trace: Any) -> None:
        """Hang a finished trace, this class's or a dictionary of one, below this span."""
        if trace is not None:
            self.children.append(trace)

    def __enter__(self) -> Span:
        return self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        if error is not None:
            self.attributes.setdefault("error", type(error).__name__)
        self.end()

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "type": "span",
            "name": self.name,
            "children": [_plain(child) for child in self.children],
            "attributes": self.attributes,
            "inputs": self.inputs,
            "outputs": self.outputs,
        }
        if self._began is not None:
            found["begin"] = _stamp(self._began)
        if self._began is not None and self._ended is not None:
            found["end"] = _stamp(self._ended)
            found["duration"] = round((self._ended - self._began).total_seconds() * 1000)
        return found


class _Moment(Span):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begin()

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "type": "event"}


def _plain(child: Any) -> Any:
    if isinstance(child, Mapping):
        return child
    convert = getattr(child, "to_dict", None)
    return convert() if callable(convert) else str(child)


def _now() -> datetime:
    return datetime.now(timezone.utc)  # noqa: UP017 - datetime.UTC is of Python 3.11


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
