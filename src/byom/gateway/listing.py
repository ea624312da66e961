"""``GET /v1/models``: what a key may use, in OpenAI's form with a few more fields."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from byom.catalog.snapshot import Route, Snapshot

_encode = msgspec.json.encode
Describe = Callable[[Route], Mapping[str, Any]]
"""Further fields of an entry."""


def _entry(route: Route, describe: Describe | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": route.name,
        "object": "model",
        "created": route.created,
        "owned_by": route.connection,
        "abilities": sorted(route.abilities),
    }
    if route.context_window is not None:
        entry["context_window"] = route.context_window
    return entry if describe is None else {**describe(route), **entry}


def models(snapshot: Snapshot, allowed: frozenset[str] | None, describe: Describe | None = None) -> bytes:
    usable = [route for route in snapshot.models if allowed is None or route.name in allowed]
    return _encode({"object": "list", "data": [_entry(route, describe) for route in usable]})


def model(route: Route, describe: Describe | None = None) -> bytes:
    return _encode(_entry(route, describe))


def close_names(snapshot: Snapshot, allowed: frozenset[str] | None, name: str) -> str:
    """Names like this one that the caller may use, quoted; empty where none is close."""
    names = [route.name for route in snapshot.models if allowed is None or route.name in allowed]
    return " or ".join(repr(found) for found in difflib.get_close_matches(name[:200], names[:2000], n=3, cutoff=0.6))
