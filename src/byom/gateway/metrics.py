"""The figures of the gateway as Prometheus wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from byom.gateway.figures import Figures


class GatewayCollector(Collector):
    """``gauges`` gives further current values (name, help, value), ``circuits`` the state of each connection's."""

    def __init__(
        self,
        figures: Figures,
        gauges: Callable[[], Iterable[tuple[str, str, float]]],
        circuits: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        self._figures = figures
        self._gauges = gauges
        self._circuits = circuits

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        calls = CounterMetricFamily("byom_calls", "Calls that ended.", labels=["model", "state", "status"])
        tokens = CounterMetricFamily("byom_tokens", "Tokens used.", labels=["model", "kind"])
        cost = CounterMetricFamily("byom_cost_dollars", "Known cost of calls, in US dollars.", labels=["model"])
        retries = CounterMetricFamily("byom_retries", "Attempts after the first.", labels=["model"])
        latency = _family("byom_latency_seconds", "From the request to the end of its answer.")
        first = _family("byom_first_token_seconds", "From the request to the first token of a stream.")
        overhead = _family("byom_overhead_seconds", "Time that the hub itself added to a call.")
        for name, model in list(figures.models.items()):
            for (state, status), count in model.states.items():
                calls.add_metric([name, state, str(status)], count)
            tokens.add_metric([name, "prompt"], model.prompt_tokens)
            tokens.add_metric([name, "completion"], model.completion_tokens)
            cost.add_metric([name], model.cost / 1e12)
            retries.add_metric([name], model.retries)
            for family, histogram in (
                (latency, model.latency),
                (first, model.first_token),
                (overhead, model.overhead),
            ):
                family.add_metric([name], histogram.buckets(), histogram.sum)
        yield from (calls, tokens, cost, retries, latency, first, overhead)
        yield CounterMetricFamily("byom_unauthorized", "Requests without a valid key.", value=figures.unauthorized)
        lag = HistogramMetricFamily("byom_loop_lag_seconds", "How late the event loop ran a timer.")
        lag.add_metric([], figures.loop_lag.buckets(), figures.loop_lag.sum)
        yield lag
        circuit = GaugeMetricFamily(
            "byom_circuit_open", "1 while a connection is left alone after failures.", labels=["connection"]
        )
        for connection, state in self._circuits():
            circuit.add_metric([connection], 0 if state == "closed" else 1)
        yield circuit
        for name, help_text, value in self._gauges():
            yield GaugeMetricFamily(name, help_text, value=value)


def _family(name: str, help_text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, help_text, labels=["model"])
