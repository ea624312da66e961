"""Code as models: presets, each user's credentials, and long work that tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from byom._client.failures import error_of
from byom._client.link import Link
from byom._client.resources import Fields, listed
from byom.errors import Unavailable

OnEvent = Callable[[str, Fields], None]
"""What kind of news, and the news; called from the client's own thread or loop."""


class Presets:
    """``client.presets``: named values of a plugin's parameter sets. They belong to a connection."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self, connection: str) -> list[Fields]:
        return listed(await self._link.json("GET", _path(connection)))

    async def get(self, connection: str, name: str) -> Fields:
        """Raises `NotFound`."""
        found: Fields = await self._link.json("GET", _path(connection, name))
        return found

    async def create(
        self, connection: str, name: str, *, parameter_set: str | None = None, values: Mapping[str, Any] | None = None
    ) -> Fields:
        """Values of secret fields are kept encrypted. Raises `BadRequest` naming a field, `Conflict`."""
        body = {"name": name, "parameter_set": parameter_set, "values": dict(values or {})}
        made: Fields = await self._link.json("POST", _path(connection), body)
        return made

    async def update(self, connection: str, name: str, *, values: Mapping[str, Any]) -> Fields:
        """``None`` takes a value out; those that are not named stay."""
        changed: Fields = await self._link.json("PATCH", _path(connection, name), {"values": dict(values)})
        return changed

    async def delete(self, connection: str, name: str, *, dry_run: bool = False) -> Fields:
        """What stops working by it; with ``dry_run`` nothing is deleted."""
        params = {"dry_run": "true"} if dry_run else None
        gone: Fields = await self._link.json("DELETE", _path(connection, name), params=params)
        return gone


def _path(connection: str, preset: str | None = None) -> str:
    path = f"/api/connections/{quote(connection, safe='')}/presets"
    return path if preset is None else f"{path}/{quote(preset, safe='')}"


class Credentials:
    """``client.credentials``: your own, for code that needs them. Needs no admin key; values are never shown."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self) -> list[Fields]:
        """What the models that you may use ask of you, and whether it is there."""
        return listed(await self._link.json("GET", "/api/me/credentials"))

    async def set(self, connection: str, preset: str, field: str, value: str | Mapping[str, str]) -> Fields:
        """Enter or replace one. ``value``: a text, or ``user`` and ``password`` where its type is BASIC."""
        given = value if isinstance(value, str) else dict(value)
        body = {"connection": connection, "preset": preset, "field": field, "value": given}
        stored: Fields = await self._link.json("PUT", "/api/me/credentials", body)
        return stored

    async def delete(self, connection: str, preset: str, field: str) -> None:
        """Raises `NotFound`."""
        params = {"connection": connection, "preset": preset, "field": field}
        await self._link.json("DELETE", "/api/me/credentials", params=params)


async def told_work(link: Link, path: str, body: Mapping[str, Any], on_event: OnEvent | None) -> Fields:
    """The report of long work at ``path``; ``on_event`` hears of its progress. Raises the error that it ends with."""
    if on_event is None:
        found: Fields = await link.json("POST", path, body)
        return found
    kind = ""
    async with link.stream("POST", path, body, headers={"accept": "text/event-stream"}) as response:
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                told: Fields = msgspec.json.decode(value)
                if kind == "error":
                    raise error_of(int(told.get("status", 500)), {}, value.encode(), link.place)
                if kind == "report":
                    return told
                on_event(kind, told)
    raise Unavailable("The hub broke off in the middle of the work.")
