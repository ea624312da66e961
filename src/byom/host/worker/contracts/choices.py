"""Several answers to one request, of code that gives one at a time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..contract import Event


class Choices:
    """Numbers the events of each answer. What was used comes once, at the end of the last one, and only where every
    answer told it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.count = max(1, int(request.get("n") or 1))
        self._told: list[dict[str, Any]] = []

    def numbered(self, event: Event, index: int) -> Event:
        if self.count == 1:
            return event
        found = {**event, "index": index}
        usage = found.pop("usage", None)
        if usage:
            self._told.append(usage)
        if found.get("finish_reason") and index == self.count - 1 and len(self._told) == self.count:
            found["usage"] = self._whole()
        return found

    def _whole(self) -> dict[str, Any]:
        names = [name for name in self._told[0] if all(name in one for one in self._told)]
        whole: dict[str, Any] = {}
        for name in names:
            if name == "cost":
                whole[name] = str(sum(Decimal(one[name]) for one in self._told))
            elif name != "estimated":
                whole[name] = sum(one[name] for one in self._told)
        if any(one.get("estimated") for one in self._told):
            whole["estimated"] = True
        return whole
