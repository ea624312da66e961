"""Keeps one host process for each connection whose models are code.

In a hub of one process the hub itself has this; with several workers the process that holds them together has it,
which opens no database: what there is to run it asks a `Source`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from byom.catalog.host_document import HostConfiguration
from byom.errors import ByomError, Unavailable
from byom.server.code_host import CodeHost
from byom.server.host_state import HostState
from byom.types.target import Target

log = logging.getLogger("byom.server")


class Source(Protocol):
    """Who knows the catalog."""

    async def configurations(self) -> Sequence[HostConfiguration]:
        """Of every connection of kind ``code`` that is enabled."""

    async def code_says(self, connection_id: str, models: list[dict[str, Any]]) -> None:
        """Keep what the code says of its models."""

    def publish(self, connection: str, target: Target | None) -> None:
        """The connection's models answer there from now on; ``None``: nowhere."""


class CodeHosts:
    """A `byom.server.host_state.CodeKeeper`. ``folder``: where the logs are. Belongs to one event loop."""

    def __init__(self, source: Source, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._hosts: dict[str, CodeHost] = {}
        """By the connection's id."""
        self._agreeing = asyncio.Lock()
        self._asked = 0
        self._agreed = 0
        self._stopping: set[asyncio.Task[None]] = set()
        self._closed = False

    async def stop(self) -> None:
        """End every process; nothing of them is left."""
        self._closed = True
        hosts, self._hosts = list(self._hosts.values()), {}
        await asyncio.gather(*(host.stop() for host in hosts), *self._stopping, return_exceptions=True)

    # -- what is asked

    async def wake(self, connection: str) -> None:
        await (await self._host(connection)).wake()

    async def restart(self, connection: str) -> HostState:
        host = await self._host(connection)
        await host.restart()
        return await host.state()

    async def states(self) -> dict[str, HostState]:
        hosts = list(self._hosts.values())
        found = await asyncio.gather(*(host.state() for host in hosts))
        return {host.name: state for host, state in zip(hosts, found, strict=True)}

    async def changed(self) -> None:
        """Returns when every process has what the catalog says now. Many who ask at once are served together."""
        self._asked += 1
        mine = self._asked
        async with self._agreeing:
            if self._agreed < mine and not self._closed:
                now = self._asked
                await self._agree()
                self._agreed = now

    async def _host(self, connection: str) -> CodeHost:
        """Raises `Unavailable` for a connection that has none: it was deleted or disabled a moment ago."""
        for _ in range(2):
            for host in self._hosts.values():
                if host.name == connection:
                    return host
            async with self._agreeing:
                await self._agree()
        raise Unavailable(
            f"The connection {connection!r} has no code to run now.", code="model_not_running", retry_after=1.0
        )

    # -- in step with the catalog

    async def _agree(self) -> None:
        wanted = {one.connection_id: one for one in await self._source.configurations()}
        if self._closed:
            return
        for id_ in self._hosts.keys() - wanted.keys():
            self._let_go(self._hosts.pop(id_))
        told = []
        for id_, configuration in wanted.items():
            host = self._hosts.get(id_)
            if host is None:
                host = self._hosts[id_] = CodeHost(configuration, self._source, self._folder)
                if configuration.eager:
                    host.begin()
            else:
                told.append(self._told(host, configuration))
        await asyncio.gather(*told)

    @staticmethod
    async def _told(host: CodeHost, configuration: HostConfiguration) -> None:
        try:
            await host.configure(configuration)
        except (ByomError, OSError) as error:
            log.warning("the process of %s has not taken its new configuration: %s", configuration.name, error)

    def _let_go(self, host: CodeHost) -> None:
        self._source.publish(host.name, None)
        task = asyncio.ensure_future(host.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
