"""What the keeper of code asks of a catalog."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from byom.errors import ConfigError

if TYPE_CHECKING:
    from byom.catalog.catalog import Catalog
    from byom.catalog.host_document import HostConfiguration
    from byom.types.target import Target

log = logging.getLogger("byom.server")


class CatalogSource:
    """A `byom.server.code_hosts.Source` in the process that has the catalog. ``url``: of the hub, for messages."""

    def __init__(self, catalog: Catalog, url: str) -> None:
        self._catalog = catalog
        self._url = url

    async def configurations(self) -> list[HostConfiguration]:
        found = []
        for row in self._catalog.state.connections.values():
            if row.kind == "code" and row.enabled:
                try:
                    found.append(self._catalog.host_configuration(row.name, hub_url=self._url))
                except ConfigError as error:
                    log.error("the code of %s cannot be run: %s", row.name, error)
        return found

    async def code_says(self, connection_id: str, models: list[dict[str, Any]]) -> None:
        await self._catalog.code_says(connection_id, models)

    def publish(self, connection: str, target: Target | None) -> None:
        self._catalog.set_runtime_target(connection, target)
