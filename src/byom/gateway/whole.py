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

_OK = ("ok", 200)


def pass_on(exchange: Exchange, headers: dict[bytes, bytes], data: bytes) -> bool:
    """Account for the call and pass its answer on. ``False``, with nothing done, for an answer that has to be looked at
    more closely, or that does not say what was used."""
    arrived = perf_counter()
    kind = headers.get(b"content-type", b"")
    envelope = exchange.envelope
    stream = envelope.stream is True
    if not stream:
        if not kind.startswith(b"application/json"):
            return False
        lines = answers.JSON
        answer = read_answer(data)
        if answer is None or len(memoryview(answer.error)):
            return False
    else:
        if not kind.startswith(b"text/event-stream") or not exchange.streams:
            return False
        options = envelope.stream_options
        if options is not None and options.continuous_usage_stats:
            return False
        found = read_whole(data, "last" if envelope.wants_usage else "strip")
        if found is None:
            return False
        lines = answers.EVENT_STREAM
        data, answer = found
    if answer.usage is None:
        return False
    usage = answer.usage.tokens()
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    plan = exchange.plan
    gateway = exchange.gateway
    price = exchange.route.price
    cost = None if price is None else price.cost(usage)
    exchange.finished = True
    exchange.detach()
    gateway.active.discard(exchange)
    exchange.upstream.breaker.succeeded()
    for grant in exchange.grants:
        gateway.limiter.settle(grant, prompt + completion, cost or 0)
    head = exchange.head
    first = arrived - exchange.started
    latency = perf_counter() - exchange.started
    overhead = latency - (arrived - exchange.attempt_began)
    gateway.record(
        Row(
            exchange.id,
            exchange.at,
            plan.key,
            plan.user,
            plan.connection,
            plan.model,
            plan.upstream_model,
            plan.path,
            200,
            "ok",
            "",
            stream,
            prompt,
            completion,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            usage.estimated,
            cost,
            plan.price_version,
            int(latency * 1e6),
            int(first * 1e6) if stream else None,
            int(overhead * 1e6),
            0,
            1,
            None,
            answer.id or "",
            "gateway",
            head.request_id,
        )
    )
    figures = plan.figures
    figures.states[_OK] = figures.states.get(_OK, 0) + 1
    figures.prompt_tokens += prompt
    figures.completion_tokens += completion
    if cost:
        figures.cost += cost
    seconds = figures.latency
    seconds.counts[bisect_left(SECONDS, latency)] += 1
    seconds.sum += latency
    seconds = figures.overhead
    seconds.counts[bisect_left(OVERHEAD, overhead)] += 1
    seconds.sum += overhead
    if stream:
        figures.first_token.observe(first)
    elif cost is not None:
        lines += answers.cost_line(cost)
    public_id = (head.request_id or exchange.id).encode("latin-1")
    exchange.down.respond(
        200, b"%bx-request-id: %b\r\nx-byom-overhead-ms: %.3f\r\n" % (lines, public_id, overhead * 1000), data
    )
    return True
