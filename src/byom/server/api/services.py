"""What the management API needs of a hub."""

from __future__ import annotations

from typing import Any, Protocol

from byom.catalog.catalog import Catalog
from byom.ledger.ledger import Ledger
from byom.settings import Settings


class LiveCalls(Protocol):
    def live(self) -> list[dict[str, Any]]:
        """The calls under way; see `byom.gateway.gateway.Gateway.live`."""


class Hub(Protocol):
    """`byom.server.hub.Hub` is one; a catalog and a ledger without a server make another."""

    @property
    def settings(self) -> Settings: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def gateway(self) -> LiveCalls: ...

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
