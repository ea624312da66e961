"""An answer that is good and came whole, in one read: nearly every answer of a model behind a fast server.

The same as `byom.gateway.replies` and `byom.gateway.account.close` for such an answer, written out in one piece like
the road that leads here (`byom.gateway.express`).
"""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter
from typing import TYPE_CHECKING

from byom.gateway import answers
from byom.gateway.figures import OVERHEAD, SECONDS
from byom.gateway.tee import read_whole
from byom.gateway.usage import read_answer
from byom.ledger.row import Row

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange
    from byom.gateway.figures import ModelFigures
    from byom.gateway.usage import Answer
    from byom.types.usage import Usage

_OK = ("ok", 200)


def pass_on(exchange: Exchange, headers: dict[bytes, bytes], data: bytes) -> bool:
    """Account for the call and pass its answer on. ``False``, with nothing done, for an answer that has to be looked at
    more closely, or that does not say what was used."""
    arrived = perf_counter()
    stream = exchange.envelope.stream is True
    found = _read_stream(exchange, headers, data) if stream else _read(headers, data)
    if found is None:
        return False
    data, answer = found
    if answer.usage is None:
        return False
    usage = answer.usage.tokens()
    plan, gateway, price = exchange.plan, exchange.gateway, exchange.route.price
    cost = None if price is None else price.cost(usage)
    exchange.finished = True
    exchange.detach()
    gateway.active.discard(exchange)
    exchange.upstream.breaker.succeeded()
    for grant in exchange.grants:
        gateway.limiter.settle(grant, usage.prompt_tokens + usage.completion_tokens, cost or 0)
    first = arrived - exchange.started
    latency = perf_counter() - exchange.started
    overhead = latency - (arrived - exchange.attempt_began)
    gateway.record(
        Row(
            exchange.id, exchange.at, plan.key, plan.user, plan.connection, plan.model, plan.upstream_model, plan.path,
            200, "ok", "", stream,
            usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.cache_write_tokens,
            usage.reasoning_tokens, usage.estimated,
            cost, plan.price_version,
            int(latency * 1e6), int(first * 1e6) if stream else None, int(overhead * 1e6), 0,
            1, None, answer.id or "", "gateway", exchange.head.request_id,
        )
    )  # fmt: skip
    _count(plan.figures, usage, cost, latency, overhead)
    lines = answers.EVENT_STREAM if stream else answers.JSON + answers.cost_line(cost)
    if stream:
        plan.figures.first_token.observe(first)
    public_id = (exchange.head.request_id or exchange.id).encode("latin-1")
    exchange.down.respond(
        200, b"%bx-request-id: %b\r\nx-byom-overhead-ms: %.3f\r\n" % (lines, public_id, overhead * 1000), data
    )
    return True


def _read(headers: dict[bytes, bytes], data: bytes) -> tuple[bytes, Answer] | None:
    if not headers.get(b"content-type", b"").startswith(b"application/json"):
        return None
    answer = read_answer(data)
    return None if answer is None or len(memoryview(answer.error)) else (data, answer)


def _read_stream(exchange: Exchange, headers: dict[bytes, bytes], data: bytes) -> tuple[bytes, Answer] | None:
    if not headers.get(b"content-type", b"").startswith(b"text/event-stream") or not exchange.streams:
        return None
    options = exchange.envelope.stream_options
    if options is not None and options.continuous_usage_stats:
        return None
    return read_whole(data, "last" if exchange.envelope.wants_usage else "strip")


def _count(figures: ModelFigures, usage: Usage, cost: int | None, latency: float, overhead: float) -> None:
    figures.states[_OK] = figures.states.get(_OK, 0) + 1
    figures.prompt_tokens += usage.prompt_tokens
    figures.completion_tokens += usage.completion_tokens
    if cost:
        figures.cost += cost
    seconds = figures.latency
    seconds.counts[bisect_left(SECONDS, latency)] += 1
    seconds.sum += latency
    seconds = figures.overhead
    seconds.counts[bisect_left(OVERHEAD, overhead)] += 1
    seconds.sum += overhead
