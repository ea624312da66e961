"""Probing a model: the plan, the run, and keeping what was found."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from byom.catalog.records import Model
from byom.catalog.snapshot import Route
from byom.errors import Conflict, Unavailable
from byom.ledger.request_id import new_id
from byom.ledger.row import Row
from byom.server.api.access import Caller
from byom.server.api.money import dollars
from byom.server.api.schemas import probe as schemas
from byom.server.api.services import Hub
from byom.types.target import Target
from byom.types.usage import Price
from byom.upstream.probe import AbilityReport, Kind, Progress, plan, probe

DEFAULT_TIMEOUT = 60.0


def plan_of(hub: Hub, name: str, kind: Kind) -> schemas.ProbePlan:
    """What a probe may spend. Raises `ModelNotFound`."""
    return schemas.ProbePlan.of(plan(hub.catalog.models.get(name).upstream_model, kind))


def require_consent(found: schemas.ProbePlan, *, spend: bool) -> None:
    """Raise `Conflict` with the plan unless spending is allowed."""
    if not spend:
        raise Conflict(
            f"A probe makes up to {found.calls} calls to {found.model!r}: about {found.prompt_tokens} tokens of "
            f"prompts and at most {found.max_tokens} tokens of answers. Allow it with spend=true.",
            code="spend_required",
            param="spend",
            details={"plan": found.model_dump()},
        )


def route_of(hub: Hub, name: str) -> Route:
    """Where the model is. Raises `ModelNotFound`, and `Conflict` when it is disabled."""
    model = hub.catalog.models.get(name)
    route = hub.catalog.snapshot.routes.get(model.name)
    if route is None or route.model_id != model.id:
        raise Conflict(f"model {model.name!r} is disabled, or its connection is", code="model_disabled")
    return route


async def run(
    hub: Hub,
    route: Route,
    caller: Caller,
    *,
    kind: Kind = "auto",
    timeout: float = DEFAULT_TIMEOUT,
    progress: Progress | None = None,
) -> schemas.AbilityReport:
    """Probe, write the ledger's row, store what was found. Raises what `byom.upstream.probe.probe` raises.

    Raises `Unavailable`, and spends nothing, while the ledger has no room or the model's process does not start.
    """
    if not hub.ledger.accepting:
        raise Unavailable("the ledger has no room for what a probe would cost", code="ledger_full", retry_after=10.0)
    if not route.target.host:
        await hub.wake(route.connection)
        route = route_of(hub, route.name)
    began, clock = time.time_ns() // 1000, time.perf_counter()
    found = await probe(
        _told_of(caller, route.target),
        route.upstream_model,
        kind=kind,
        policy=hub.catalog.snapshot.network,
        timeout=timeout,
        progress=progress,
    )
    cost = _cost(route.price, found)
    key = caller.key
    hub.ledger.append(
        Row(
            id=new_id(),
            at=began,
            key="" if key is None else key.id,
            user="" if key is None else key.user_name,
            connection=route.connection,
            model=route.name,
            upstream_model=route.upstream_model,
            route="probe",
            status=200,
            state="ok",
            prompt_tokens=found.usage.prompt_tokens,
            completion_tokens=found.usage.completion_tokens,
            estimated=found.usage.estimated,
            cost=cost,
            price_version="" if route.price is None else route.price.version,
            latency=int((time.perf_counter() - clock) * 1e6),
            attempts=max(1, found.calls),
            origin="probe",
        )
    )
    await hub.catalog.models.update(route.name, _changes(hub, route, found), actor=caller.actor)
    return schemas.AbilityReport.from_report(found, dollars(cost))


def _told_of(caller: Caller, target: Target) -> Target:
    """Code that asks each user for a credential gets that of the user who probes."""
    if not target.tell_user or caller.key is None:
        return target
    return msgspec.structs.replace(target, headers=(*target.headers, ("x-byom-user", caller.key.user_id)))


def _cost(price: Price | None, found: AbilityReport) -> int | None:
    """All calls of the probe; ``Price.cost`` counts the fee of one."""
    if price is None:
        return None
    return price.cost(found.usage) + price.request * (max(1, found.calls) - 1)


def _changes(hub: Hub, route: Route, found: AbilityReport) -> dict[str, Any]:
    """Only what was found out; what stayed unknown leaves the model as it was."""
    findings = {name: msgspec.to_builtins(finding) for name, finding in found.findings.items()}
    details = {"at": round(time.time(), 3), "findings": findings, "first_token_ms": found.first_token_ms}
    changes: dict[str, Any] = {"details": {"probe": details}}
    if found.abilities():
        changes["abilities"] = sorted(found.abilities() | _kept(hub.catalog.models.get(route.name), route, found))
    if found.context_window:
        changes["context_window"] = found.context_window
    if found.dimensions:
        changes["dimensions"] = found.dimensions
    if found.max_tokens_field == "max_completion_tokens":
        changes["max_tokens_field"] = found.max_tokens_field
    streams = found.findings.get("streaming")
    if streams is not None and streams.value != "unknown":
        changes["streaming"] = "none" if streams.value == "no" else None
    asked = found.findings.get("stream_usage")
    if asked is not None and asked.value == "no":
        changes["stream_usage"] = "never"
    elif asked is not None and asked.value == "yes" and hub.catalog.models.get(route.name).stream_usage == "never":
        changes["stream_usage"] = None
    return changes


def _kept(model: Model, route: Route, found: AbilityReport) -> frozenset[str]:
    """Abilities that the model had, and that the probe could not tell. Code says itself what it can, so of code also
    those that were not tried."""
    untried = "unknown" if route.target.tell_user else "no"
    values = {name: finding.value for name, finding in found.findings.items()}
    return frozenset(name for name in model.abilities if values.get(name, untried) == "unknown")
