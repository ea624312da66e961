"""What comes after an attempt that came to nothing: another one, another model, or the caller is told."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING

from byom.errors import ByomError, CircuitOpen, CodeError, UpstreamError, UpstreamProtocol
from byom.gateway import account, admission, answers
from byom.ledger.row import Attempt

if TYPE_CHECKING:
    from byom.gateway.exchange import Exchange

log = logging.getLogger("byom.gateway")
RETRYABLE = frozenset({408, 409, 429})
"""Error statuses below 500 that may pass by themselves."""
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def refused(exchange: Exchange, status: int, body: bytes, retry_after: float | None) -> None:
    """The upstream answered with an error status."""
    target = exchange.route.target
    if target.tell_user:
        # 403 is about the user, who has entered no credential, and not about a key that is stored here.
        failure = answers.host_failure(status, body, retry_after)
    else:
        failure = answers.upstream_failure(status, body, retry_after, target.authorization)
    if failure is not None:
        failed(exchange, failure, status=status, fault=status >= 500 and not isinstance(failure, CodeError))
        return
    code = f"http_{status}"
    exchange.upstream.breaker.succeeded()
    if status in RETRYABLE and _retry(exchange, status, code, retry_after):
        return
    if status == 429 and _fall_back(exchange, status, code):
        return
    if status < 400:
        exchange.fail(UpstreamProtocol(f"The model's server answered with a redirect (HTTP {status})."))
        return
    body = answers.passed_error(status, body, target.authorization)
    if target.trusted:
        body = answers.with_detail(body)
    exchange.error = code
    account.close(exchange, status, "error", None)
    if exchange.delivery is not None and exchange.delivery.begun:
        exchange.delivery.break_off(b"data: " + body.translate(_ONE_LINE) + b"\n\n")
        return
    lines = answers.passed_error_headers(exchange.public_id, retry_after, last=exchange.attempts > 1)
    exchange.down.respond(status, lines, body)


def failed(exchange: Exchange, error: ByomError, *, status: int = 0, fault: bool = True) -> None:
    """This attempt came to nothing: make another one, or tell the caller. ``fault``: of the upstream."""
    breaker = exchange.upstream.breaker
    if isinstance(error, CircuitOpen):
        pass  # Another call may be the probe, and what comes of that is open still.
    elif not fault or not isinstance(error, UpstreamError):
        breaker.gave_up()
    elif breaker.failed(exchange.route.circuit):
        log.warning("circuit opened", extra={"connection": exchange.route.connection, "code": error.code})
    if exchange.answering:
        exchange.answer_broke(error)
        return
    again = error.retryable and not isinstance(error, CircuitOpen)
    if again and _retry(exchange, status, error.code, error.retry_after):
        return
    if not _fall_back(exchange, status, error.code):
        exchange.fail(error)


def _note(exchange: Exchange, status: int, code: str) -> None:
    if exchange.attempt_list is None:
        exchange.attempt_list = []
    taken = (perf_counter() - exchange.attempt_began) * 1000 if exchange.attempt_began else 0.0
    exchange.attempt_list.append(Attempt(exchange.route.connection, exchange.route.name, status, code, round(taken, 3)))


def _retry(exchange: Exchange, status: int, code: str, retry_after: float | None) -> bool:
    settings = exchange.route.retry
    if exchange.attempts_here >= settings.attempts:
        return False
    delay = min(settings.max_delay, settings.base_delay * 2 ** (exchange.attempts_here - 1))
    delay *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, hides nothing
    if retry_after is not None:
        if retry_after > settings.max_retry_after:
            return False
        delay = max(retry_after, 0.0)
    if not exchange.upstream.breaker.spend_retry():
        return False
    _note(exchange, status, code)
    exchange.gateway.figures.of(exchange.route.name).retries += 1
    exchange.spawn(_again(exchange, delay))
    return True


async def _again(exchange: Exchange, delay: float) -> None:
    exchange.reply = None
    exchange.begin_wait()
    await asyncio.sleep(delay)
    exchange.end_wait()
    _follow(exchange)
    exchange.dispatch()


async def wake(exchange: Exchange, start: Callable[[str], Awaitable[None]]) -> None:
    """Wait for the model's process to start, then make the attempt under the catalog that knows its place."""
    exchange.begin_wait()
    await start(exchange.route.connection)
    exchange.end_wait()
    _follow(exchange)
    exchange.attempts -= 1
    exchange.dispatch()


def _follow(exchange: Exchange) -> None:
    """Go where the model's process is now. Only for processes that this hub started: they come and go."""
    route = exchange.gateway.snapshot.routes.get(exchange.route.name)
    if exchange.route.target.trusted and route is not None and route.target is not exchange.route.target:
        exchange.plan = exchange.gateway.plan(exchange.head, route, exchange.plan.kind)
        exchange.route = route
        exchange.upstream = exchange.plan.upstream


def _fall_back(exchange: Exchange, status: int, code: str) -> bool:
    """Go on with the next fallback model that can do what the request needs."""
    if exchange.fallbacks is None:
        exchange.fallbacks = exchange.route.fallbacks
    while exchange.fallbacks and not exchange.plan.kind.raw:
        name, exchange.fallbacks = exchange.fallbacks[0], exchange.fallbacks[1:]
        route = exchange.gateway.snapshot.routes.get(name)
        if route is None or not admission.suits(exchange, route):
            continue
        _note(exchange, status, code)
        admission.leave_route(exchange)
        exchange.plan = exchange.gateway.plan(exchange.head, route, exchange.plan.kind)
        exchange.route = route
        exchange.upstream = exchange.plan.upstream
        exchange.attempts_here = 0
        exchange.sent_body = None
        exchange.fresh_only = False
        exchange.reply = None
        exchange.spawn(_enter_fallback(exchange))
        return True
    return False


async def _enter_fallback(exchange: Exchange) -> None:
    refusal = await admission.enter_route(exchange)
    if refusal is None:
        exchange.dispatch()
    elif not _fall_back(exchange, 429, "rate_limit_exceeded"):
        admission.refuse(exchange, refusal)
