"""Closes a call's account: what it used, what that cost, its ledger row, its figures, its limits. Exactly once."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from byom.gateway import envelope as envelopes
from byom.ledger.row import Row
from byom.types.usage import Usage

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange
    from byom.gateway.figures import ModelFigures
    from byom.gateway.replies import Reply
    from byom.ledger.row import State

COUNTED = frozenset({"chat/completions", "completions", "embeddings", "rerank", "responses", "messages"})
"""Routes whose calls are counted in tokens."""
_NO_OUTPUT = frozenset({"embeddings", "rerank"})
_NOTHING = Usage()


def reservation(exchange: Exchange) -> tuple[int, int]:
    """Tokens and picodollars to hold for a call until it has ended; estimates, replaced by what was used."""
    price = exchange.route.price
    if not exchange.plan.counted:
        return 0, price.request if price is not None else 0
    body = exchange.body
    prompt = len(body) // 4 if len(body) < 4096 else envelopes.estimate_prompt(body)
    output = 0
    if exchange.head.path not in _NO_OUTPUT:
        most = exchange.envelope.max_output
        output = envelopes.DEFAULT_OUTPUT if most is None else most
    if price is None:
        return prompt + output, 0
    if price.tiers:
        return prompt + output, price.cost(Usage(prompt_tokens=prompt, completion_tokens=output))
    return prompt + output, price.request + prompt * price.input + output * price.output


def usage_of(exchange: Exchange, status: int, state: State, reply: Reply | None) -> Usage | None:
    """What was used, estimated where the upstream does not say; ``None`` where nothing was."""
    if reply is None:
        return None
    if reply.usage is not None:
        return reply.usage
    if not reply.good or (state == "error" and status >= 400):
        return None
    if not exchange.plan.counted or exchange.route.missing_usage == "free":
        return None
    return estimate(exchange, reply.produced())


def estimate(exchange: Exchange, produced: int) -> Usage:
    """For an upstream that does not say what was used. ``produced``: tokens of the answer, about."""
    prompt = envelopes.estimate_prompt(exchange.body)
    output = 0 if exchange.head.path in _NO_OUTPUT else produced
    return Usage(prompt_tokens=prompt, completion_tokens=output, estimated=True)


def missing_usage(exchange: Exchange, produced: int) -> dict[str, Any] | None:
    """What a caller who asked for usage is told where the upstream says nothing: an estimate, marked as one."""
    if exchange.route.missing_usage != "estimate":
        return None
    usage = estimate(exchange, produced)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "estimated": True,
    }


def close(exchange: Exchange, status: int, state: State, usage: Usage | None, answer_id: str = "") -> None:
    """Settle, count and write the row. The row is on disk when this returns."""
    exchange.finished = True
    gateway, route = exchange.gateway, exchange.route
    gateway.active.discard(exchange)
    price = route.price
    cost: int | None = None
    if usage is None:
        usage = _NOTHING
        if state != "ok":
            cost = 0
        elif price is not None:
            cost = price.request
    elif price is not None:
        cost = price.cost(usage)
    if exchange.grants:
        tokens = usage.prompt_tokens + usage.completion_tokens
        for grant in exchange.grants:
            gateway.limiter.settle(grant, tokens, cost or 0)
    plan = exchange.plan
    stream = exchange.envelope.stream is True
    first = exchange.first_token
    latency = perf_counter() - exchange.started
    overhead = latency - exchange.waited - exchange.upstream_time - exchange.open_attempt()
    if overhead < 0.0:
        overhead = 0.0
    exchange.overhead = overhead
    exchange.cost = cost
    gateway.record(
        Row(
            exchange.id, exchange.at, plan.key, plan.user, plan.connection, plan.model, plan.upstream_model, plan.path,
            status, state, exchange.error, stream,
            usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.cache_write_tokens,
            usage.reasoning_tokens, usage.estimated,
            cost, plan.price_version,
            int(latency * 1e6), int(first * 1e6) if stream and first is not None else None, int(overhead * 1e6),
            int(exchange.waited * 1e6),
            exchange.attempts, exchange.attempt_list, answer_id, "gateway", exchange.head.request_id,
        )
    )  # fmt: skip
    figures = plan.figures
    _count(figures, (state, status), usage, cost)
    figures.latency.observe(latency)
    figures.overhead.observe(overhead)
    if stream and first is not None:
        figures.first_token.observe(first)
    if exchange.on_finish is not None:
        # After the answer itself has been handed over, so that it can be kept for those who wait.
        gateway.loop.call_soon(exchange.on_finish)


def _count(figures: ModelFigures, outcome: tuple[str, int], usage: Usage, cost: int | None) -> None:
    figures.states[outcome] = figures.states.get(outcome, 0) + 1
    figures.prompt_tokens += usage.prompt_tokens
    figures.completion_tokens += usage.completion_tokens
    if cost:
        figures.cost += cost
