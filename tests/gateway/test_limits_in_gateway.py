"""Limits as callers meet them: exact, before anything is forwarded, and given back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream
from byom.types.limits import Budget, Limits, Scope, Window
from byom.types.usage import Price
from tests.gateway.rig import OTHER_TOKEN, Rig, key
from tests.gateway.wire import body_of, post, wire

BOTH = pytest.mark.parametrize("server", ["own", "asgi"])
BODY = body_of(max_tokens=10)


def limit_key(rig: Rig, **limits: Any) -> None:
    caller = key(limits=Limits(**limits))
    rig.swap(keys={caller.id: caller})


def states(rig: Rig) -> Any:
    return rig.gateway.limiter._states  # type: ignore[attr-defined]


async def many(http: httpx2.AsyncClient, count: int, body: bytes = BODY) -> list[httpx2.Response]:
    return await asyncio.gather(*(http.post("/chat/completions", content=body) for _ in range(count)))


@BOTH
@pytest.mark.parametrize("where", ["key", "user", "model", "connection"])
async def test_requests_of_a_window_are_exact_whatever_is_limited(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, where: str
) -> None:
    """gateway checklist 48 and 49"""
    scope = Scope(f"{where}:x", Limits(windows=(Window("requests", 10, 60.0),)))
    if where in ("key", "user"):
        caller = key(scopes=(scope,))
        rig.swap(keys={caller.id: caller})
    else:
        rig.change_route(scopes=(scope,))
    answers = await many(http, 50)
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 40
    assert len(upstream.requests) == 10
    refused = next(answer for answer in answers if answer.status_code == 429)
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert f"The {where}" in error["message"]
    assert "10 requests per 60 s" in error["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert 0 < int(refused.headers["retry-after-ms"]) <= 60_000
    assert sorted(row.state for row in rig.rows) == ["ok"] * 10 + ["refused"] * 40
    assert {row.cost for row in rig.rows if row.state == "refused"} == {0}


async def test_tokens_are_reserved_before_and_settled_after(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 50"""
    limit_key(rig, windows=(Window("tokens", 1000, 60.0),))
    upstream.set_default(Behavior(prompt_tokens=100, completion_tokens=100))
    async with wire(rig.port) as line:
        statuses = [(await line.call(post(BODY))).status for _ in range(7)]
    # The sixth does not fit: 1000 are used, and each reserves what its body and its max_tokens make likely.
    assert statuses == [200] * 5 + [429] * 2
    assert len(upstream.requests) == 5


async def test_what_was_used_less_than_reserved_is_given_back(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 50"""
    limit_key(rig, windows=(Window("tokens", 1000, 60.0),))
    upstream.set_default(Behavior(prompt_tokens=5, completion_tokens=5))
    async with wire(rig.port) as line:
        for _ in range(20):
            assert (await line.call(post(body_of(max_tokens=700)))).status == 200
    (state,) = states(rig).values()
    assert state.log.tokens_free == 1000 - 20 * 10


async def test_a_request_larger_than_its_limit_is_told_so_and_not_to_try_again(rig: Rig) -> None:
    """gateway checklist 29 and 49"""
    limit_key(rig, windows=(Window("tokens", 100, 60.0),), max_wait=30.0)
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of(max_tokens=5000)))
    assert reply.status == 429
    assert "larger than that" in reply.error["message"]
    assert "retry-after" not in reply.headers


@BOTH
async def test_calls_at_the_same_time_are_bounded(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 48"""
    limit_key(rig, concurrency=3)
    upstream.set_default(Behavior(latency=0.2))
    answers = await many(http, 12)
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 9
    assert len(upstream.requests) == 3
    assert (await many(http, 3))[0].status_code == 200, "the places are free again"


@BOTH
async def test_a_hundred_at_once_at_a_budget_for_ten_cost_no_more_than_it(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 53"""
    price = Price(input=0, output=1_000_000, version="x")
    rig.change_route(price=price)
    limit_key(rig, budgets=(Budget(10 * 10 * 1_000_000, "day"),))
    upstream.set_default(Behavior(latency=0.05, prompt_tokens=1, completion_tokens=10))
    answers = await many(http, 100)
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 90
    assert len(upstream.requests) == 10
    assert sum(row.cost or 0 for row in rig.rows) == 10 * 10 * 1_000_000
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 0


async def test_what_a_budget_is_overshot_by_is_what_answers_exceed_their_reservation(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 53: the next period begins with nothing, this one lets nobody else in"""
    rig.change_route(price=Price(input=0, output=1_000_000, version="x"))
    limit_key(rig, budgets=(Budget(100 * 1_000_000, "day"),))
    upstream.set_default(Behavior(prompt_tokens=1, completion_tokens=60, honor_max_tokens=False))
    answers = [await http.post("/chat/completions", content=BODY) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]


async def test_an_unknown_price_uses_no_budget(rig: Rig, http: httpx2.AsyncClient) -> None:
    """gateway checklist 56"""
    rig.change_route(price=None)
    limit_key(rig, budgets=(Budget(1, "day"),))
    assert (await many(http, 1))[0].status_code == 200
    assert rig.rows[0].cost is None


@BOTH
async def test_callers_may_wait_for_their_turn(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 49: up to max_wait"""
    limit_key(rig, concurrency=2, max_wait=10.0)
    upstream.set_default(Behavior(latency=0.05))
    answers = await many(http, 8)
    assert {answer.status_code for answer in answers} == {200}
    assert max(row.waited for row in rig.rows) >= 100_000
    assert all(row.overhead < row.latency for row in rig.rows)


async def test_a_window_is_waited_for_when_it_opens_in_time(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 49"""
    limit_key(rig, windows=(Window("requests", 2, 0.5),), max_wait=5.0)
    async with wire(rig.port) as line:
        for _ in range(5):
            assert (await line.call(post(BODY))).status == 200
    times = [request.received_at for request in upstream.requests]
    assert all(later - earlier >= 0.49 for earlier, later in zip(times, times[2:], strict=False))


async def test_a_wait_that_would_be_too_long_is_refused_at_once(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 29 and 49"""
    limit_key(rig, windows=(Window("requests", 1, 60.0),), max_wait=2.0)
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY))).status == 200
        started = time.monotonic()
        reply = await line.call(post(BODY))
        assert reply.status == 429
        assert time.monotonic() - started < 1.5
        assert 55 <= int(reply.headers["retry-after"]) <= 60


async def test_a_wait_that_was_too_long_is_refused_after_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 29 and 49"""
    limit_key(rig, concurrency=1, max_wait=0.2)
    upstream.set_default(Behavior(hang=True))
    async with wire(rig.port) as first, wire(rig.port) as second:
        await first.send(post(BODY))
        await upstream.wait_for_requests(1)
        reply = await second.call(post(BODY))
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) >= 1
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "refused",
    [
        post(b"{", path="/v1/chat/completions"),
        post(body_of(model="nothing")),
        post(BODY, token=OTHER_TOKEN),
        post(b"", method="GET", path="/v1/models", length=None),
        post(BODY, method="PUT"),
    ],
    ids=["json", "model", "key", "models", "method"],
)
async def test_what_is_refused_for_another_reason_consumes_nothing(
    rig: Rig, upstream: FakeUpstream, refused: bytes
) -> None:
    """gateway checklist 49"""
    limit_key(rig, windows=(Window("requests", 1, 60.0),))
    async with wire(rig.port) as line:
        for _ in range(3):
            await line.call(refused)
        assert (await line.call(post(BODY))).status == 200
        assert (await line.call(post(BODY))).status == 429


async def test_a_refusal_of_one_scope_consumes_nothing_of_the_others(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 49"""
    limit_key(rig, windows=(Window("requests", 100, 60.0), Window("tokens", 10**6, 60.0)), concurrency=50)
    rig.change_route(scopes=(Scope("model:x", Limits(windows=(Window("requests", 1, 60.0),))),))
    async with wire(rig.port) as line:
        for _ in range(10):
            await line.call(post(BODY))
    state = states(rig)[f"key:{key().id}"]
    assert state.log.requests_free == 99
    assert state.slots_free == 50


@pytest.mark.parametrize(
    "behavior",
    [Behavior(status=500), Behavior(status=400), Behavior(drop="reset"), Behavior(malformed="html")],
    ids=lambda one: f"{one.status}-{one.drop}",
)
async def test_a_failed_call_gives_back_tokens_money_and_its_place(
    rig: Rig, upstream: FakeUpstream, behavior: Behavior
) -> None:
    """gateway checklist 3 and 50"""
    limits = {"windows": (Window("tokens", 1000, 60.0),), "budgets": (Budget(10**10, "day"),), "concurrency": 1}
    limit_key(rig, **limits)
    rig.change_route(retry=type(rig.gateway.snapshot.routes["mock-model"].retry)(attempts=1))
    upstream.set_default(behavior)
    async with wire(rig.port) as line:
        for _ in range(4):
            assert (await line.call(post(body_of(max_tokens=800)))).status != 429
    (state,) = states(rig).values()
    assert (state.log.tokens_free, state.slots_free, state.budgets.free) == (1000, 1, 10**10)


async def test_a_changed_limit_counts_from_the_next_call_on(rig: Rig) -> None:
    """gateway checklist 82: and what was counted stays counted"""
    limit_key(rig, windows=(Window("requests", 2, 60.0),))
    async with wire(rig.port) as line:
        assert [(await line.call(post(BODY))).status for _ in range(3)] == [200, 200, 429]
        limit_key(rig, windows=(Window("requests", 3, 60.0),))
        assert [(await line.call(post(BODY))).status for _ in range(2)] == [200, 429]
