"""The straight road: what nearly every call takes, written out in one piece.

A call whose head was seen before, that names a known model, is admitted at once, finds an idle connection and is
answered in one read needs no more than what stands here. Each step is the same as on the general road
(`byom.gateway.exchange`), which takes over wherever something is unusual; a Python call costs as much as the work of
most of these steps, so they are not calls. The figures are in ``bench/``.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from byom.gateway import envelope as envelopes
from byom.gateway.circuit import STARTING_RETRIES
from byom.gateway.exchange import Exchange
from byom.limits.decision import LocalGrant

if TYPE_CHECKING:
    from byom.gateway.gateway import Gateway
    from byom.gateway.request import CallHead, Downstream

_decode = msgspec.json.Decoder(envelopes.Envelope).decode
LONGEST = 4096
"""Bytes of a body. What a longer one costs is not its road."""


def begin(gateway: Gateway, head: CallHead, body: bytes, down: Downstream) -> Exchange | None:
    """Send the call on its way; ``None``, with nothing done, for one that has to take the general road."""
    started = perf_counter()
    low = body.lower()
    if len(body) > LONGEST or not body.isascii() or low.count(b'"model"') != 1 or low.find(b"file_id") >= 0:
        return None
    if body.find(b"\\u") >= 0:
        return None
    try:
        envelope = _decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    plan = head.plans.get(envelope.model or "")
    if plan is None or not plan.express or envelope.n is not None:
        return None
    upstream = plan.upstream
    idle = upstream.pool.idle
    breaker = upstream.breaker
    if not idle or breaker.open_until or breaker.retries < STARTING_RETRIES:
        return None
    if body.find(plan.needles[0]) < 0 and body.find(plan.needles[1]) < 0:
        return None
    exchange = Exchange(gateway, head, body, down, plan, envelope, started)
    if envelope.stream and plan.ask_usage and not envelope.wants_usage:
        body = envelopes.rewrite(body, envelope, model=plan.route.upstream_model, ask_usage=plan.ask_usage)
    if plan.steps:
        most = envelope.max_completion_tokens or envelope.max_tokens
        output = envelopes.DEFAULT_OUTPUT if most is None else int(most)
        prompt = len(body) // 4
        cost = plan.fixed_cost + prompt * plan.prompt_cost + output * plan.output_cost
        grant = gateway.limiter.admit(plan.steps[0], prompt + output, cost) if output >= 0 else None
        if type(grant) is not LocalGrant:
            return None
        exchange.grants = (grant,)
    gateway.active.add(exchange)
    connection = upstream.pool.take()
    if connection is None:
        exchange.dispatch()
        return exchange
    exchange.attempts = exchange.attempts_here = 1
    exchange.send(connection, body)
    return exchange
