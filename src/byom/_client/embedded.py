"""Hubs inside this process, shared by the clients of one event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from byom.errors import Unavailable

if TYPE_CHECKING:
    from byom.server.hub import Hub

_DRAIN_SECONDS = 1.0


class _Slot:
    """The hub of one home folder on one loop, and how many clients use it."""

    def __init__(self) -> None:
        self.users = 0
        self.lock = asyncio.Lock()
        self.hub: Hub | None = None


class Embedded(NamedTuple):
    hub: Hub
    admin_key: str


_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Path, _Slot]] = WeakKeyDictionary()


async def join(home: Path) -> Embedded:
    """The hub of this home folder on the running loop, started where needed. Call `leave` once for it."""
    slot = _slots.setdefault(asyncio.get_running_loop(), {}).setdefault(home, _Slot())
    async with slot.lock:
        if slot.hub is None:
            slot.hub = await _start(home)
        slot.users += 1
        hub = slot.hub
    from byom._client.place import admin_key

    key = admin_key(home)
    if key is None:
        await leave(home)
        raise Unavailable(f"There is no admin key in {home}. Make one with: byom keys reset-admin")
    return Embedded(hub, key)


async def leave(home: Path) -> None:
    """Give the hub back; the last one stops it."""
    slot = _slots.get(asyncio.get_running_loop(), {}).get(home)
    if slot is None:
        return
    async with slot.lock:
        slot.users -= 1
        if slot.users == 0 and slot.hub is not None:
            hub, slot.hub = slot.hub, None
            await hub.stop(_DRAIN_SECONDS)


async def _start(home: Path) -> Hub:
    from byom.server.hub import Hub
    from byom.settings import load_settings

    hub = Hub(load_settings({"home": home}))
    await hub.start()
    return hub
