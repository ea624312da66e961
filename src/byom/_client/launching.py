"""Weights: specs, and models that are launched from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from byom._client.code import OnEvent, told_work
from byom._client.link import Link
from byom._client.resources import Fields, listed


class Specs:
    """``client.specs``: what can be launched."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self, kind: str | None = None, *, detailed: bool = False) -> list[Fields]:
        """``kind``: ``LLM``, ``embedding`` or ``rerank``. With ``detailed`` each has its whole ``spec``."""
        params = {"type": kind, "detailed": "true" if detailed else "false"}
        return listed(await self._link.json("GET", "/api/specs", params=params))

    async def get(self, name: str, kind: str = "LLM") -> Fields:
        """The spec, as it can be registered. Raises `NotFound`."""
        found: Fields = (await self._link.json("GET", _spec(kind, name)))["spec"]
        return found

    async def register(
        self, spec: str | Mapping[str, Any], kind: str | None = None, *, persist: bool = True, replace: bool = False
    ) -> Fields:
        """``spec``: an object, or the text of one in JSON or TOML. Returns ``spec`` and ``notes``.

        Raises `BadRequest` with every problem of the spec, `Conflict` where the name is taken.
        """
        document = spec if isinstance(spec, str) else dict(spec)
        body = {"spec": document, "persist": persist, "replace": replace} | ({"type": kind} if kind else {})
        found: Fields = await self._link.json("POST", "/api/specs", body)
        return found

    async def unregister(self, name: str, kind: str = "LLM") -> None:
        """What runs of it goes on. Raises `NotFound`."""
        await self._link.json("DELETE", _spec(kind, name))


class Launches:
    """``client.launches``: models that are launched from specs."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, uid: str) -> Fields:
        """Raises `NotFound`."""
        found: Fields = await self._link.json("GET", _launch(uid))
        return found

    async def start(self, /, name: str, *, on_event: OnEvent | None = None, **fields: Any) -> Fields:
        """Launch a registered model; returns when it is ready (with ``wait=False`` at once).

        ``fields``: uid, engine, format, size, quantization, replicas, n_gpu, context_length, slots, engine_arguments,
        pinned, idle_unload_seconds, … ``on_event`` hears of each ``stage``. Raises why it could not be launched, in
        which case nothing of it is left.
        """
        given = {"model_name": name} | {field: value for field, value in fields.items() if value is not None}
        return await told_work(self._link, "/api/launches", given, on_event)

    async def explain(self, /, name: str, **fields: Any) -> Fields:
        """What would be launched, and why; nothing is started."""
        given = {"model_name": name} | {field: value for field, value in fields.items() if value is not None}
        found: Fields = await self._link.json("POST", "/api/launches/explain", given)
        return found

    async def stop(self, uid: str, *, drain: float = 0.0) -> None:
        """Stop it, at any stage; returns when nothing of it is left. ``drain``: seconds for calls under way."""
        await self._link.request("DELETE", _launch(uid), params={"drain": drain})

    async def cancel(self, uid: str) -> None:
        """Stop it if it is on its way. Raises `Conflict` where it is ready already."""
        await self._link.request("POST", _launch(uid, "/cancel"))

    async def progress(self, uid: str) -> Fields:
        """``fraction`` (0 to 1) and ``stages``."""
        found: Fields = await self._link.json("GET", _launch(uid, "/progress"))
        return found

    async def load(self, uid: str) -> Fields:
        """Start its processes where they do not run; returns when it serves."""
        found: Fields = await self._link.json("POST", _launch(uid, "/load"))
        return found

    async def unload(self, uid: str) -> Fields:
        """End its processes; the next call starts them again."""
        found: Fields = await self._link.json("POST", _launch(uid, "/unload"))
        return found

    async def scale(self, uid: str, replicas: int) -> Fields:
        """Have so many replicas; returns when they are ready."""
        found: Fields = await self._link.json("PUT", _launch(uid, "/replicas"), {"replicas": replicas})
        return found

    async def remove_replica(self, uid: str, replica: int) -> None:
        await self._link.request("DELETE", _launch(uid, f"/replicas/{replica}"))

    async def logs(
        self,
        uid: str,
        *,
        replica: int | None = None,
        lines: int = 200,
        follow: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """What an engine has written. With ``follow`` it goes on, each piece given to ``on_text``."""
        params = {"replica": replica, "lines": lines, "follow": "true" if follow else "false"}
        found: list[str] = []
        async with self._link.stream("GET", _launch(uid, "/logs"), params=params) as response:
            async for text in response.aiter_text():
                (found.append if on_text is None else on_text)(text)
        return "".join(found)

    async def engines(self) -> list[Fields]:
        """What can serve weights on the hub's machine, and what to install for the rest."""
        return listed(await self._link.json("GET", "/api/engines"))

    async def cached(self) -> list[Fields]:
        """Weights that were fetched."""
        return listed(await self._link.json("GET", "/api/cached"))

    async def remove_cached(self, path: str) -> None:
        """Raises `Conflict` for weights that are in use."""
        await self._link.request("DELETE", "/api/cached", params={"path": path})

    async def list(self) -> list[Fields]:
        """Everything that is launched, and what failed in the last hour."""
        return listed(await self._link.json("GET", "/api/launches"))


def _spec(kind: str, name: str) -> str:
    return f"/api/specs/{quote(kind, safe='')}/{quote(name, safe='')}"


def _launch(uid: str, action: str = "") -> str:
    return f"/api/launches/{quote(uid, safe='')}{action}"
