"""``Idempotency-Key``: the same request sent twice is made once."""

from __future__ import annotations

import asyncio

import httpx2
import openai
import pytest

from byom.catalog.snapshot import GatewaySettings, Retry
from byom.testing import Behavior, FakeUpstream
from byom.types.limits import Limits, Window
from tests.gateway.rig import MODEL, OTHER_TOKEN, Rig, key, until
from tests.gateway.wire import HELLO, body_of, post, wire

BODY = body_of()
KEYED = {"idempotency-key": "k1"}


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_key_and_body_make_one_upstream_call(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, stream: bool
) -> None:
    """gateway checklist 33"""
    body = body_of(stream=stream)
    first, second = [await http.post("/chat/completions", content=body, headers=KEYED) for _ in range(2)]
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert second.headers["x-byom-cache"] == "hit"
    assert len(upstream.requests) == 1
    assert [(row.state, row.cost) for row in rig.rows][1] == ("cached", 0)


async def test_the_same_key_with_another_body_is_refused(rig: Rig, http: httpx2.AsyncClient) -> None:
    """gateway checklist 33"""
    await http.post("/chat/completions", content=BODY, headers=KEYED)
    for path, body in (("/chat/completions", body_of(n=1)), ("/embeddings", BODY), ("/chat/completions?a=b", BODY)):
        answer = await http.post(path, content=body, headers=KEYED)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert rig.settled()


@pytest.mark.parametrize("server", ["own", "asgi"])
async def test_concurrent_duplicates_wait_for_the_one_call(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 33"""
    upstream.set_default(Behavior(latency=0.2))
    calls = [http.post("/chat/completions", content=BODY, headers=KEYED) for _ in range(10)]
    answers = await asyncio.gather(*calls)
    assert len({answer.content for answer in answers}) == 1
    assert len(upstream.requests) == 1
    rows = await rig.wait_for_rows(10)
    assert sorted(row.state for row in rows) == ["cached"] * 9 + ["ok"]


async def test_keys_of_two_callers_are_not_the_same(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 33 and 76"""
    one, other = key(), key(OTHER_TOKEN)
    rig.swap(keys={one.id: one, other.id: other})
    async with wire(rig.port) as line:
        await line.call(post(BODY, "Idempotency-Key: k1"))
        reply = await line.call(post(body_of(n=1), "Idempotency-Key: k1", token=OTHER_TOKEN))
        assert reply.status == 200
        assert "x-byom-cache" not in reply.headers
    assert len(upstream.requests) == 2


async def test_a_failure_is_not_kept_and_the_next_one_tries(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 33"""
    rig.change_route(retry=Retry(attempts=1))
    upstream.enqueue(Behavior(status=500), Behavior(status=400), Behavior())
    statuses = [(await http.post("/chat/completions", content=BODY, headers=KEYED)).status_code for _ in range(4)]
    assert statuses == [502, 400, 200, 200]
    assert len(upstream.requests) == 3


async def test_when_the_call_fails_one_of_those_who_wait_makes_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 33"""
    rig.change_route(retry=Retry(attempts=1))
    upstream.enqueue(Behavior(status=500, latency=0.2), Behavior(latency=0.2))
    async with wire(rig.port) as a, wire(rig.port) as b, wire(rig.port) as c:
        for line in (a, b, c):
            await line.send(post(BODY, "Idempotency-Key: k1"))
        replies = await asyncio.gather(a.reply(), b.reply(), c.reply())
    assert sorted(reply.status for reply in replies) == [200, 200, 502]
    assert len(upstream.requests) == 2


async def test_when_the_caller_of_the_call_leaves_one_of_those_who_wait_makes_it(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """gateway checklist 2 and 33"""
    upstream.enqueue(Behavior(hang=True), Behavior())
    async with wire(rig.port) as patient:
        async with wire(rig.port) as hasty:
            await hasty.send(post(BODY, "Idempotency-Key: k1"))
            await upstream.wait_for_requests(1)
            await patient.send(post(BODY, "Idempotency-Key: k1"))
            await until(lambda: any(entry.waiting for entry in rig.gateway.idempotency._entries.values()))
        assert (await patient.reply()).status == 200
    assert len(upstream.requests) == 2


async def test_those_who_wait_are_told_when_the_hub_stops(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 80: and no call begins while it stops"""
    upstream.set_default(Behavior(hang=True))
    async with wire(rig.port) as one, wire(rig.port) as other:
        for line in (one, other):
            await line.send(post(BODY, "Idempotency-Key: k1"))
        await until(lambda: any(entry.waiting for entry in rig.gateway.idempotency._entries.values()))
        await until(lambda: upstream.requests)
        await rig.gateway.drain(0.0)
        assert [(await line.reply()).status for line in (one, other)] == [503, 503]
    assert len(upstream.requests) == 1


async def test_what_was_kept_is_not_given_to_a_key_that_lost_its_right(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 65"""
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY, "Idempotency-Key: k1"))).status == 200
        caller = key(models=frozenset({"other"}))
        rig.swap(keys={caller.id: caller})
        assert (await line.call(post(BODY, "Idempotency-Key: k1"))).status == 404
        rig.swap(keys={})
        assert (await line.call(post(BODY, "Idempotency-Key: k1"))).status == 401


async def test_an_answer_that_comes_again_uses_up_no_limit(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 57"""
    caller = key(limits=Limits(windows=(Window("requests", 1, 60.0),)))
    rig.swap(keys={caller.id: caller})
    async with wire(rig.port) as line:
        for _ in range(3):
            assert (await line.call(post(BODY, "Idempotency-Key: k1"))).status == 200
        assert (await line.call(post(BODY, "Idempotency-Key: k2"))).status == 429


async def test_keys_are_forgotten_after_their_time(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 33"""
    rig.swap(settings=GatewaySettings(idempotency_seconds=0.0))
    async with wire(rig.port) as line:
        for _ in range(2):
            assert (await line.call(post(BODY, "Idempotency-Key: k1"))).status == 200
    assert len(upstream.requests) == 2
    rig.gateway.idempotency._next_expiry = 0.0
    await asyncio.sleep(0)
    rig.gateway.idempotency.expire()
    assert not rig.gateway.idempotency._entries


async def test_an_sdk_that_tries_again_with_its_key_is_answered_once(
    rig: Rig, upstream: FakeUpstream, sdk: openai.AsyncOpenAI
) -> None:
    """gateway checklist 33"""
    ids = {
        (
            await sdk.chat.completions.create(
                model=MODEL,
                messages=HELLO,  # type: ignore[arg-type]
                extra_headers={"Idempotency-Key": "same"},
            )
        ).id
        for _ in range(3)
    }
    assert len(ids) == len(upstream.requests) == 1
