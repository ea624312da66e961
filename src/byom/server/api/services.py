"""What the management API needs of a hub."""

from __future__ import annotations

from typing import Any, Protocol

from byom.catalog.catalog import Catalog
from byom.ledger.ledger import Gauges, Ledger
from byom.server.host_state import CodeKeeper
from byom.server.launching.launching import Launching
from byom.settings import Settings


class Hub(Protocol):
    """`byom.server.hub.Hub` is one; a catalog and a ledger without a server make another."""

    @property
    def settings(self) -> Settings: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""

    @property
    def code(self) -> CodeKeeper:
        """Keeps the processes of connections whose models are code."""

    @property
    def launching(self) -> Launching:
        """Specs and launched models."""

    async def wake(self, connection: str) -> None:
        """Start the process of a connection. Raises `Unavailable` where there is none to start."""

    async def calls_under_way(self) -> list[dict[str, Any]]:
        """See `byom.gateway.gateway.Gateway.live`."""

    async def circuits(self) -> dict[str, str]:
        """Of each connection that was used: closed, half-open or open, the worst of all processes."""

    async def ledger_gauges(self) -> Gauges:
        """How the ledger is, for the hub as a whole."""
