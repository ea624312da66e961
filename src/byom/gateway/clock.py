"""Time-outs and keep-alive comments of all calls, from one timer for all of them: no timer is set for a chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byom.gateway.replies import StreamReply

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange

MAX_WRITE_STALL = 600.0
"""Seconds that a caller may leave an answer unread before it counts as gone."""


def sweep(exchange: Exchange, now: float, keepalive: float) -> None:
    """``now`` as `time.perf_counter`; ``keepalive``: seconds of silence before a comment line, 0 for none."""
    _check_limits(exchange, now)
    delivery = exchange.delivery
    last_write = exchange.started if delivery is None else delivery.last_write
    if not keepalive or exchange.finished or now - last_write <= keepalive:
        return
    reply = exchange.reply
    # Before the upstream answered, too: a load balancer cuts a silent connection whatever the reason.
    if reply.quiet if isinstance(reply, StreamReply) else (reply is None and exchange.streams):
        exchange.keep_alive(now)


def _check_limits(exchange: Exchange, now: float) -> None:
    limits = exchange.route.timeouts
    stalled = exchange.delivery.stalled_since if exchange.delivery is not None else 0.0
    if limits.total and now - exchange.started > limits.total:
        exchange.time_out(f"The whole call took longer than {limits.total:g} s (total time-out).", retry=False)
    elif stalled:
        if now - stalled > MAX_WRITE_STALL:
            exchange.on_disconnect()
            exchange.down.abort()
    elif exchange.sent_at:
        if exchange.reply is None:
            if limits.first_byte and now - exchange.sent_at > limits.first_byte:
                text = f"No answer began within {limits.first_byte:g} s (first-byte time-out)."
                exchange.time_out(text, retry=True)
        elif limits.idle and now - exchange.last_data > limits.idle:
            exchange.time_out(f"The answer stood still for {limits.idle:g} s (idle time-out).", retry=False)
