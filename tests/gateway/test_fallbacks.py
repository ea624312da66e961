"""Going on with another model when one fails, without changing what the request means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from byom.catalog.snapshot import CallerKey, Retry
from byom.testing import Behavior, FakeUpstream
from byom.types.limits import Limits, Scope, Window
from tests.gateway.rig import MODEL, Rig, key, route_to, running, snapshot_of
from tests.gateway.wire import body_of, post, wire

ONCE = Retry(attempts=1)
BODY = body_of()


@asynccontextmanager
async def two(
    *, keys: tuple[CallerKey, ...] = (), first: dict[str, Any] | None = None, second: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Rig, FakeUpstream, FakeUpstream]]:
    """A model with a fallback, each with a server of its own."""
    async with FakeUpstream() as one, FakeUpstream(Behavior(text="from the second")) as other:
        routes = (
            route_to(one, retry=ONCE, fallbacks=("spare",), **(first or {})),
            route_to(other, "spare", retry=ONCE, upstream_model="spare-9", **(second or {})),
        )
        async with running(snapshot_of(*routes, keys=keys)) as rig:
            yield rig, one, other


FAILURES = [
    Behavior(status=500),
    Behavior(status=503),
    Behavior(status=401),
    Behavior(status=429),
    Behavior(drop="reset"),
    Behavior(malformed="html"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda one: f"{one.status}-{one.drop}-{one.malformed}")
async def test_a_model_that_fails_is_replaced_by_its_fallback(failure: Behavior, stream: bool) -> None:
    """gateway checklist 39 and 57"""
    async with two() as (rig, one, other):
        one.set_default(failure)
        async with wire(rig.port) as line:
            reply = await line.call(post(body_of(stream=stream)))
        assert b"from" in reply.body
        assert reply.headers["x-byom-model"] == "spare"
        assert other.requests[0].model == "spare-9"
        (row,) = rig.rows
        assert (row.state, row.model, row.connection, row.attempts) == ("ok", "spare", "to-spare", 2)
        assert row.attempt_list is not None
        assert [attempt.model for attempt in row.attempt_list] == [MODEL]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_the_callers_mistake_stays_one(status: int) -> None:
    """gateway checklist 39"""
    async with two() as (rig, one, other):
        one.set_default(Behavior(status=status))
        async with wire(rig.port) as line:
            assert (await line.call(post(BODY))).status == status
        assert not other.requests


async def test_an_answer_that_has_begun_is_not_continued_by_another_model() -> None:
    """gateway checklist 31"""
    async with two() as (rig, one, other):
        one.set_default(Behavior(tokens=("a", "b"), cut_after_chunks=1))
        async with wire(rig.port) as line:
            reply = await line.call(post(body_of(stream=True)))
        assert b'"error"' in reply.body
        assert not other.requests


IMAGE = [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("fields", "ability"), [({"messages": [{"role": "user", "content": IMAGE}]}, "vision"), ({"tools": TOOLS}, "tools")]
)
async def test_a_fallback_that_cannot_do_what_is_asked_is_left_out(fields: dict[str, Any], ability: str) -> None:
    """gateway checklist 39: the request's meaning is kept"""
    able = frozenset({"chat", "vision", "tools"})
    async with two(second={"abilities": able - {ability}}) as (rig, one, other):
        one.set_default(Behavior(status=500))
        async with wire(rig.port) as line:
            assert (await line.call(post(body_of(**fields)))).status == 502
        assert not other.requests
    async with two(second={"abilities": able}) as (rig, one, other):
        one.set_default(Behavior(status=500))
        async with wire(rig.port) as line:
            assert (await line.call(post(body_of(**fields)))).status == 200


async def test_a_fallback_that_the_key_may_not_use_is_left_out() -> None:
    """gateway checklist 39 and 54"""
    async with two(keys=(key(models=frozenset({MODEL})),)) as (rig, one, other):
        one.set_default(Behavior(status=500))
        async with wire(rig.port) as line:
            assert (await line.call(post(BODY))).status == 502
        assert not other.requests


async def test_the_caller_pays_the_model_that_answered_and_the_other_ones_limits_are_given_back() -> None:
    """gateway checklist 57"""
    limits = Limits(windows=(Window("tokens", 10_000, 60.0), Window("requests", 10, 60.0)), concurrency=5)
    caller = key(limits=limits)
    first = {"scopes": (Scope("model:one", limits),)}
    second = {"scopes": (Scope("model:two", limits),)}
    async with two(keys=(caller,), first=first, second=second) as (rig, one, other):
        one.set_default(Behavior(status=500))
        other.set_default(Behavior(prompt_tokens=100, completion_tokens=50))
        async with wire(rig.port) as line:
            assert (await line.call(post(BODY))).status == 200
        states = rig.gateway.limiter._states  # type: ignore[attr-defined]
        used = {name: 10_000 - states[name].log.tokens_free for name in ("key:" + caller.id, "model:one", "model:two")}
        assert used == {"key:" + caller.id: 150, "model:one": 0, "model:two": 150}


async def test_a_fallback_at_its_limit_is_a_refusal_and_nothing_stays_reserved() -> None:
    """gateway checklist 49 and 57"""
    second = {"scopes": (Scope("model:two", Limits(windows=(Window("requests", 1, 60.0),))),)}
    async with two(second=second) as (rig, one, other):
        one.set_default(Behavior(status=500))
        async with wire(rig.port) as line:
            assert (await line.call(post(BODY))).status == 200
            reply = await line.call(post(BODY))
        assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
        assert len(other.requests) == 1
        assert rig.rows[-1].state == "refused"


async def test_a_model_that_is_named_as_its_own_fallback_ends() -> None:
    """gateway checklist 39"""
    async with FakeUpstream(Behavior(status=500)) as one:
        route = route_to(one, retry=ONCE, fallbacks=(MODEL, "gone", MODEL))
        async with running(snapshot_of(route)) as rig, wire(rig.port) as line:
            assert (await line.call(post(BODY))).status == 502
        assert len(one.requests) == 3
