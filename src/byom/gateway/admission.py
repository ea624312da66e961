"""Lets a call in under the limits of its key and of its model, at once or after a wait.

A model with fallbacks is admitted in two steps, so that its own limits can be given back when another model answers.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from byom.errors import BudgetExceeded, LimitExceeded
from byom.gateway import account
from byom.limits.decision import LimitRefusal

if TYPE_CHECKING:
    from byom.catalog.snapshot import Route
    from byom.gateway.exchange import Exchange
    from byom.limits.limiter import Grant
    from byom.types.limits import Scope


def admit(exchange: Exchange) -> Coroutine[Any, Any, None] | None:
    """Admit now, or refuse now (the exchange is finished then), or give the work of waiting for a turn."""
    limiter = exchange.gateway.limiter
    tokens, cost = account.reservation(exchange)
    grants: list[Grant] = []
    exchange.grants = grants
    steps = exchange.plan.steps
    for index, scopes in enumerate(steps):
        decision = limiter.admit(scopes, tokens, cost)
        if decision is None:
            return _wait(exchange, steps[index:])
        if isinstance(decision, LimitRefusal):
            withdraw(exchange)
            refuse(exchange, decision)
            return None
        grants.append(decision)
    return None


async def _wait(exchange: Exchange, steps: tuple[tuple[Scope, ...], ...]) -> None:
    for scopes in steps:
        refusal = await _turn(exchange, scopes)
        if refusal is not None:
            withdraw(exchange)
            refuse(exchange, refusal)
            return
    exchange.dispatch()


async def _turn(exchange: Exchange, scopes: tuple[Scope, ...]) -> LimitRefusal | None:
    """Wait for a turn in these scopes; a refusal, or ``None`` when the call is in."""
    tokens, cost = account.reservation(exchange)
    longest = max(scope.limits.max_wait for scope in scopes)
    exchange.begin_wait(for_limit=True)
    decision = await exchange.gateway.limiter.wait(scopes, tokens, cost, longest)
    exchange.end_wait()
    if isinstance(decision, LimitRefusal):
        return decision
    if exchange.finished:
        exchange.gateway.limiter.withdraw(decision)
    else:
        exchange.grants = [*exchange.grants, decision]
    return None


def withdraw(exchange: Exchange) -> None:
    """Undo what was granted so far to a call that is not made."""
    for grant in exchange.grants:
        exchange.gateway.limiter.withdraw(grant)
    exchange.grants = ()


def refuse(exchange: Exchange, refusal: LimitRefusal) -> None:
    kind = BudgetExceeded if refusal.budget else LimitExceeded
    scope = refusal.scope.partition(":")[0]
    caller, route = exchange.head.caller, exchange.route
    name = {
        "model": route.name,
        "connection": route.connection,
        "key": caller.name if caller is not None else "",
        "user": caller.user_name if caller is not None else "",
    }.get(scope, "")
    if refusal.never:
        advice = "This request alone is larger than that: make it smaller, or raise the limit."
    elif refusal.budget:
        advice = "Raise the budget, or wait for the next period."
    else:
        advice = "Try again later."
    error = kind(
        f"The {scope} {name!r} is at its limit ({refusal.rule}). {advice}",
        retry_after=None if refusal.never else refusal.retry_after,
    )
    exchange.fail(error, state="refused")


def suits(exchange: Exchange, route: Route) -> bool:
    """Whether the caller may use this model, and it can do what the request needs."""
    caller = exchange.head.caller
    if caller is not None and caller.models is not None and route.name not in caller.models:
        return False
    if b'"image_url"' in exchange.body and "vision" not in route.abilities:
        return False
    return not (len(memoryview(exchange.envelope.tools)) and "tools" not in route.abilities)


def leave_route(exchange: Exchange) -> None:
    """The present model is given up: its own limits keep the request and get their tokens and money back."""
    own = len(exchange.plan.steps) - bool(exchange.route.scopes)
    for grant in exchange.grants[own:]:
        exchange.gateway.limiter.settle(grant, 0, 0)
    exchange.grants = exchange.grants[:own]


async def enter_route(exchange: Exchange) -> LimitRefusal | None:
    """Admit the call to the model that it fell back to."""
    scopes = exchange.route.scopes
    return await _turn(exchange, scopes) if scopes else None
