"""What a hub shows to the network: the gateway's listener, and an ASGI server for everything else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from byom.gateway.http.listener import Listener
from byom.server.address import tls_context
from byom.server.fallback import Fallback

if TYPE_CHECKING:
    import socket

    from byom.server.hub import Hub


LINGER_SECONDS = 0.5
"""How long callers that are connected already may send one more request when the hub stops."""


class Front:
    """Of one started hub, in one process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._others = Fallback(hub.app)
        self._listener = Listener(
            hub.gateway,
            self._others.protocol,
            loop=asyncio.get_running_loop(),
            check_origin=hub.check_origin,
        )

    async def listen(self, bound: socket.socket) -> None:
        """Raises `ConfigError` when the certificate cannot be used."""
        await self._listener.listen(bound, tls_context(self._hub.settings))

    async def stop(self, drain_seconds: float) -> None:
        """Take nothing new, let what is under way end for at most ``drain_seconds``, and stop the hub."""
        self._hub.leaving = True
        await self._listener.linger(min(LINGER_SECONDS, drain_seconds))
        self._listener.stop_accepting()
        await self._others.stop(drain_seconds)
        await self._hub.stop(drain_seconds)
        self._listener.close()
