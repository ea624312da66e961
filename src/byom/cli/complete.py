"""Names for the shell's completion. A hub that runs is asked; none is started for it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

_SECONDS = 1.0


def complete_model(incomplete: str) -> list[str]:
    """Models that the key at hand may use."""
    return [name for name in _names("/v1/models", "id") if name.startswith(incomplete)]


def complete_thing(incomplete: str) -> list[str]:
    """Models and connections."""
    names = _names("/api/models", "name") + _names("/api/connections", "name")
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def complete_key(incomplete: str) -> list[tuple[str, str]]:
    """Keys that work, by id with their names beside, and by name with their ids beside."""
    keys = [key for key in _entries("/api/keys") if key.get("state") == "active"]
    pairs = [(key["id"], key["name"]) for key in keys] + [(key["name"], key["id"]) for key in keys]
    return [(value, beside) for value, beside in pairs if value.startswith(incomplete)]


def complete_connection(incomplete: str) -> list[str]:
    return [name for name in _names("/api/connections", "name") if name.startswith(incomplete)]


def complete_launch(incomplete: str) -> list[str]:
    return [name for name in _names("/api/launches", "uid") if name.startswith(incomplete)]


def complete_user(incomplete: str) -> list[str]:
    return [name for name in _names("/api/users", "name") if name.startswith(incomplete)]


def _names(path: str, field: str) -> list[str]:
    return [str(entry[field]) for entry in _entries(path) if field in entry]


def _entries(path: str) -> list[dict[str, Any]]:
    """Empty where no hub answers at once: completion must never be in the way."""
    from byom._client.place import find_place
    from byom.errors import ByomError

    try:
        place = find_place()
        if place.in_process:
            return []
        headers = {"authorization": f"Bearer {place.key}"} if place.key else {}
        request = urllib.request.Request(place.url + path, headers=headers)  # noqa: S310 - http or https, checked
        proxies: dict[str, str] | None = {} if place.loopback else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        with opener.open(request, timeout=_SECONDS) as answer:
            data = json.load(answer)["data"]
    except (ByomError, OSError, ValueError, KeyError, urllib.error.URLError):
        return []
    return [entry for entry in data if isinstance(entry, dict)]
