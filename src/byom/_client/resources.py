"""The collections of the management API: `AsyncClient.connections`, `.models`, `.users`, `.keys`, `.prices`.

What they return are the JSON objects that the hub's ``/api/docs`` describes. They need an admin key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from byom._client.failures import HubUnreachable, error_of
from byom._client.link import Link
from byom.errors import Conflict
from byom.upstream.sse import SSEDecoder

Fields = dict[str, Any]
Progress = Callable[[str, Fields], None]


class Resource:
    """One kind of thing, at ``/api/<kind>``."""

    kind = ""

    def __init__(self, link: Link) -> None:
        self._link = link

    def _path(self, name: str, action: str = "") -> str:
        return f"/api/{self.kind}/{quote(name, safe='')}{action}"

    async def list(self) -> list[Fields]:
        """All of them, in the order of the catalog."""
        return listed(await self._link.json("GET", f"/api/{self.kind}"))


class NamedResource(Resource):
    """Things that are created, looked at, edited and deleted one by one."""

    async def get(self, name: str) -> Fields:
        """Raises `NotFound`."""
        found: Fields = await self._link.json("GET", self._path(name))
        return found

    async def create(self, /, name: str, **fields: Any) -> Fields:
        """Raises `Conflict` where the name is taken, `BadRequest` naming a field that is wrong."""
        made: Fields = await self._link.json("POST", f"/api/{self.kind}", {"name": name} | fields)
        return made

    async def update(self, /, name: str, **changes: Any) -> Fields:
        """Change some fields; ``None`` goes back to the default. A ``name`` among them renames: see `rename`."""
        changed: Fields = await self._link.json("PATCH", self._path(name), changes)
        return changed

    async def rename(self, name: str, to: str) -> Fields:
        """Whatever refers to it follows."""
        changed: Fields = await self._link.json("PATCH", self._path(name), {"name": to})
        return changed

    async def delete(self, name: str, *, dry_run: bool = False) -> Fields:
        """What stops working by it; with ``dry_run`` nothing is deleted."""
        return await self._delete(name, dry_run=dry_run)

    async def _delete(self, name: str, *, dry_run: bool) -> Fields:
        params = {"dry_run": "true"} if dry_run else None
        gone: Fields | None = await self._link.json("DELETE", self._path(name), params=params)
        return gone or {}


class Connections(NamedResource):
    """Creating and editing test the connection first; `AsyncClient.connect` also tells what the test found."""

    kind = "connections"

    async def create(self, /, name: str, **fields: Any) -> Fields:
        saved: Fields = (await super().create(name, **fields))["connection"]
        return saved

    async def update(self, /, name: str, **changes: Any) -> Fields:
        changed: Fields = (await super().update(name, **changes))["connection"]
        return changed

    async def rename(self, name: str, to: str) -> Fields:
        renamed: Fields = (await super().rename(name, to))["connection"]
        return renamed

    async def check(self, /, name: str, **options: Any) -> Fields:
        """Test a connection as it is stored: whether it works, what it lists, what is wrong with it."""
        report: Fields = await self._link.json("POST", self._path(name, "/check"), options)
        return report

    async def check_unsaved(self, /, url: str, **fields: Any) -> Fields:
        """The same for a URL that is not stored (yet)."""
        report: Fields = await self._link.json("POST", "/api/connections/check", {"url": url} | fields)
        return report

    async def host(self, name: str) -> Fields:
        """How the process is, of a connection whose models are code: ``state``, ``reason``, ``models``, …"""
        found: Fields = await self._link.json("GET", self._path(name, "/host"))
        return found

    async def restart(self, name: str) -> Fields:
        """Start the process of code anew, with the code as it is now. Raises `Unavailable` where it does not start."""
        state: Fields = await self._link.json("POST", self._path(name, "/restart"))
        return state

    async def logs(
        self,
        name: str,
        *,
        lines: int = 200,
        follow: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """What code has written: the last ``lines``. With ``follow`` it goes on, each piece given to ``on_text``."""
        params = {"lines": lines, "follow": "true" if follow else "false"}
        found: list[str] = []
        async with self._link.stream("GET", self._path(name, "/logs"), params=params) as response:
            async for text in response.aiter_text():
                (found.append if on_text is None else on_text)(text)
        return "".join(found)


class Models(NamedResource):
    kind = "models"

    async def probe(
        self,
        name: str,
        *,
        spend: bool = False,
        kind: str = "auto",
        timeout: float = 60.0,
        progress: Progress | None = None,
    ) -> Fields:
        """Find out what the model can do, and store it. Costs tokens: see `probe_plan`, then allow it by ``spend``.

        ``kind``: ``chat``, ``embed`` or ``rerank``, where that is known. ``timeout``: seconds for each call.
        ``progress`` is called with each ability and what was found of it (``value``, ``evidence``) as soon as that is
        known. Raises `Conflict` (code ``spend_required``) unless ``spend``.
        """
        path = self._path(name, "/probe")
        params = {"spend": "true" if spend else "false", "kind": kind, "timeout": timeout}
        if progress is not None:
            return await self._probe_with(progress, path, params)
        report: Fields = await self._link.json("POST", path, params=params)
        return report

    async def _probe_with(self, progress: Progress, path: str, params: Fields) -> Fields:
        decoder = SSEDecoder()
        async with self._link.stream("POST", path, params=params, headers={"accept": "text/event-stream"}) as response:
            async for chunk in response.aiter_bytes():
                for data in decoder.feed(chunk):
                    event: Fields = msgspec.json.decode(data)
                    if "error" in event:
                        raise error_of(500, {}, data, self._link.place)
                    if "findings" in event:
                        return event
                    if "ability" in event:
                        progress(event.pop("ability"), event)
        raise HubUnreachable("The hub broke off in the middle of the probe.")

    async def probe_plan(self, name: str, *, kind: str = "auto") -> Fields:
        """The most that a probe would do: ``calls``, ``prompt_tokens``, ``max_tokens``, ``steps``. Costs nothing."""
        try:
            return await self.probe(name, kind=kind)
        except Conflict as refused:
            if refused.code != "spend_required":
                raise
            plan: Fields = refused.details["plan"]
            return plan


class Users(NamedResource):
    kind = "users"


class Keys(NamedResource):
    """Caller keys; they are named by their id after they are made."""

    kind = "keys"

    async def create(self, /, name: str, **fields: Any) -> Fields:
        """The new key with its ``token``, which is shown this once."""
        return await super().create(name, **fields)

    async def revoke(self, key_id: str, *, dry_run: bool = False) -> Fields:
        """Stop the key at once, for good."""
        return await self._delete(key_id, dry_run=dry_run)


class Prices(Resource):
    """The user's own prices, by model name or pattern."""

    kind = "prices"

    async def put(self, /, pattern: str, **fields: Any) -> Fields:
        """``input`` and ``output`` in dollars per million tokens, as text or numbers."""
        stored: Fields = await self._link.json("PUT", self._path(pattern), fields)
        return stored

    async def delete(self, pattern: str) -> None:
        """Raises `NotFound`."""
        await self._link.json("DELETE", self._path(pattern))


class Settings:
    """Settings that take effect without a restart."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self) -> Fields:
        found: Fields = await self._link.json("GET", "/api/settings")
        return found

    async def update(self, /, **changes: Any) -> Fields:
        """Change some; ``None`` goes back to the default."""
        changed: Fields = await self._link.json("PATCH", "/api/settings", changes)
        return changed


def listed(answer: Any) -> list[Fields]:
    """The entries of a list, whether it came bare or in an envelope."""
    if isinstance(answer, dict):
        answer = answer.get("data", answer.get("items", []))
    return list(answer)
