"""What ``/metrics`` says: the gateway's figures, the limiter's, the ledger's and this process's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from byom.gateway.metrics import GatewayCollector

if TYPE_CHECKING:
    from byom.server.hub import Hub

CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


def text(hub: Hub) -> bytes:
    registry = CollectorRegistry()
    registry.register(GatewayCollector(hub.gateway.figures, lambda: _gauges(hub), hub.gateway.circuits))
    return generate_latest(registry)


def _gauges(hub: Hub) -> Iterator[tuple[str, str, float]]:
    gateway, ledger = hub.gateway, hub.ledger
    yield "byom_calls_in_flight", "Calls under way.", len(gateway.active)
    yield "byom_upstream_connections", "Open connections to upstreams.", gateway.open_connections
    yield "byom_limit_reservations", "Reservations of limits that are not settled.", hub.limiter.reservations
    yield "byom_cache_bytes", "Bytes of answers kept in the response cache.", gateway.cache.bytes
    rows = ledger.gauges()
    yield "byom_ledger_rows_spooled", "Ledger rows put on disk since the start.", rows.spooled
    yield "byom_ledger_rows_written", "Of these, rows that are in the database.", rows.written
    yield "byom_ledger_spool_bytes", "Bytes of the spool on disk.", rows.spool_bytes
    yield "byom_uptime_seconds", "Seconds since the hub started.", hub.uptime
    memory = resident_bytes()
    if memory is not None:
        yield "byom_resident_memory_bytes", "Resident memory of this process.", memory


def resident_bytes() -> int | None:
    """``None`` where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
