"""What ``/metrics`` says: the gateway's figures, the limiter's, the ledger's and the processes'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from byom.gateway.metrics import GatewayCollector
from byom.server.measures import Measures, merge, resident_bytes

if TYPE_CHECKING:
    from byom.server.hub import Hub

CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


def text(parts: Sequence[Measures]) -> bytes:
    """In Prometheus's format, of all processes of a hub together."""
    whole = merge(parts)
    registry = CollectorRegistry()
    gauges = [*whole.gauges, *_process_gauges(parts)]
    registry.register(GatewayCollector(whole.figures, lambda: gauges, whole.circuits.items))
    registry.register(_WorkerMemory(parts))
    return generate_latest(registry)


def _process_gauges(parts: Sequence[Measures]) -> Iterator[tuple[str, str, float]]:
    serving = [part for part in parts if part.worker is not None]
    if serving:
        yield "byom_workers", "Gateway processes that serve.", len(serving)
        yield "byom_worker_restarts", "Gateway processes that ended and were replaced.", sum(p.restarts for p in parts)
    memory = sum(part.memory for part in parts)
    if memory:
        yield "byom_resident_memory_bytes", "Resident memory of the hub's own processes together.", memory


class _WorkerMemory(Collector):
    """The only figure of each worker by itself. Its label has as many values as the hub has workers."""

    def __init__(self, parts: Sequence[Measures]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "byom_worker_resident_memory_bytes", "Resident memory of one gateway process.", labels=["worker"]
        )
        for part in self._parts:
            if part.worker is not None:
                family.add_metric([str(part.worker)], part.memory)
        if family.samples:
            yield family


def measures(hub: Hub, worker: int | None = None) -> Measures:
    """What this process measured."""
    return Measures(
        hub.gateway.figures,
        list(_gauges(hub)),
        dict(hub.gateway.circuits()),
        worker,
        resident_bytes(),
    )


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
