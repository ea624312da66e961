"""Connections to upstreams: reused, never twice at once, and given up in time."""

from __future__ import annotations

import asyncio
import time

import httpx2
import pytest

from byom.catalog.snapshot import Retry
from byom.gateway.http import pool
from byom.testing import Behavior, FakeUpstream
from tests.gateway.raw_upstream import RawUpstream
from tests.gateway.rig import Rig, running, target_of, until
from tests.gateway.wire import body_of, post, wire

BODY = body_of()
ONCE = Retry(attempts=1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thousand_calls_one_after_the_other_use_one_connection(
    rig: Rig, upstream: FakeUpstream, stream: bool
) -> None:
    """gateway checklist 37"""
    async with wire(rig.port) as line:
        for _ in range(1000):
            assert (await line.call(post(body_of(stream=stream)))).status == 200
    assert upstream.connections_accepted <= 2
    assert rig.gateway.open_connections <= 2


async def test_calls_at_the_same_time_have_a_connection_each_and_leave_them_to_later_ones(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 37"""
    upstream.set_default(Behavior(latency=0.1))
    for _ in range(3):
        await asyncio.gather(*(http.post("/chat/completions", content=BODY) for _ in range(8)))
    assert upstream.connections_accepted <= 9


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("when", ["after_response", "on_next_request"])
async def test_a_connection_that_the_upstream_closes_while_idle_costs_nothing(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, when: str, stream: bool
) -> None:
    """gateway checklist 36: one more try, which is not counted, when no byte of an answer came"""
    rig.change_route(retry=ONCE)
    upstream.set_default(Behavior(close_idle=when))  # type: ignore[arg-type]
    for number in range(10):
        answer = await http.post("/chat/completions", content=body_of(stream=stream))
        assert answer.status_code == 200
        assert "x-byom-attempts" not in answer.headers
        assert len(upstream.requests) == number + 1
    assert {row.attempts for row in await rig.wait_for_rows(10)} == {1}
    assert {row.state for row in rig.rows} == {"ok"}


async def test_a_fresh_connection_that_breaks_is_no_such_race(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 36"""
    rig.change_route(retry=ONCE)
    upstream.set_default(Behavior(drop="reset"))
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY))).status == 502
    assert len(upstream.requests) == 1


async def test_a_reused_connection_that_breaks_in_an_answer_is_no_such_race() -> None:
    """gateway checklist 36: a byte had come"""
    good = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"id":"a"}'
    async with RawUpstream([good, [good[:9]]]) as raw:
        async with running(raw.snapshot(retry=ONCE)) as rig, wire(rig.port) as line:
            assert (await line.call(post(BODY))).status == 200
            await line.send(post(BODY))
            await until(lambda: len(raw.requests) == 2)
            await until(lambda: any(one.touched for one in raw.pool(rig).open if one.receiver is not None))
            raw._writers[0].transport.abort()
            assert (await line.reply()).status == 502
        assert len(raw.requests) == 2


async def test_an_idle_connection_is_closed_before_the_upstream_would_do_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 36: servers under most models close after five seconds"""
    async with wire(rig.port) as line:
        await line.call(post(BODY))
    (one,) = rig.gateway._upstreams.values()
    one.pool.expire(time.monotonic() + pool.IDLE_PLAIN - 0.5)
    assert upstream.connections_open == 1
    one.pool.expire(time.monotonic() + pool.IDLE_PLAIN + 0.1)
    await upstream.wait_for_connections(0)
    assert pool.IDLE_PLAIN < 5.0


async def test_the_connection_used_last_is_used_next_so_that_the_others_close(rig: Rig) -> None:
    """gateway checklist 37"""
    async with wire(rig.port) as a, wire(rig.port) as b:
        await asyncio.gather(a.call(post(BODY)), b.call(post(BODY)))
        used = []
        for _ in range(3):
            await a.call(post(BODY))
            (upstream,) = rig.gateway._upstreams.values()
            used.append(upstream.pool.idle[-1])
        assert len(set(map(id, used))) == 1


@pytest.mark.parametrize(
    "behavior",
    [
        Behavior(headers={"connection": "close"}),
        Behavior(malformed="truncated_json"),
        Behavior(status=400),
        Behavior(gzip=True),
        Behavior(dribble=1),
    ],
    ids=["close", "json", "error", "gzip", "dribble"],
)
async def test_after_any_answer_the_next_one_is_its_own(rig: Rig, upstream: FakeUpstream, behavior: Behavior) -> None:
    """gateway checklist 36: nothing of one answer is left for another"""
    rig.change_route(retry=ONCE)
    async with wire(rig.port) as line:
        for number in range(4):
            upstream.enqueue(behavior, Behavior(text=f"answer {number}"))
            await line.call(post(BODY))
            reply = await line.call(post(BODY))
            assert reply.json()["choices"][0]["message"]["content"] == f"answer {number}"


async def test_an_edited_connection_is_used_from_the_next_call_on_and_the_old_one_goes(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """gateway checklist 82: calls under way end where they began"""
    async with FakeUpstream(Behavior(text="new")) as new:
        upstream.set_default(Behavior(text="old", latency=0.3))
        async with wire(rig.port) as slow, wire(rig.port) as quick:
            await slow.send(post(BODY))
            await upstream.wait_for_requests(1)
            rig.change_route(target=target_of(new))
            assert b"new" in (await quick.call(post(BODY))).body
            assert b"old" in (await slow.reply()).body
        await upstream.wait_for_connections(0)
        assert len(upstream.requests) == len(new.requests) == 1


async def test_a_removed_connection_is_closed(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 82"""
    async with wire(rig.port) as line:
        await line.call(post(BODY))
        assert upstream.connections_open == 1
        rig.swap(models=(), routes={})
        await upstream.wait_for_connections(0)
        assert (await line.call(post(BODY))).status == 404


async def test_names_are_looked_up_anew_for_each_connection(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 38: a changed name is followed as soon as a new connection is made"""
    looked_up: list[str] = []
    real = rig.gateway._resolve

    async def resolve(target):  # type: ignore[no-untyped-def]
        looked_up.append(target.host)
        return await real(target)

    rig.gateway._resolve = resolve  # type: ignore[method-assign]
    upstream.set_default(Behavior(headers={"connection": "close"}))
    async with wire(rig.port) as line:
        for _ in range(3):
            await line.call(post(BODY))
    assert looked_up == ["127.0.0.1"] * 3


async def test_one_upstream_that_stands_still_does_not_hold_up_another(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 38"""
    upstream.set_default(Behavior(hang=True))
    stuck = asyncio.Event()

    async with wire(rig.port) as line, FakeUpstream() as other:
        await line.send(post(BODY))
        await upstream.wait_for_requests(1)
        real = rig.gateway._resolve

        async def resolve(target):  # type: ignore[no-untyped-def]
            if target.host == "slow.invalid":
                await stuck.wait()
            return await real(target)

        rig.gateway._resolve = resolve  # type: ignore[method-assign]
        rig.change_route(target=target_of(upstream, host="slow.invalid"), connection_id="slow")
        async with wire(rig.port) as waiting, wire(rig.port) as quick:
            await waiting.send(post(BODY))
            await until(lambda: any(one.route.target.host == "slow.invalid" for one in rig.gateway.active))
            rig.change_route(target=target_of(other), connection_id="other")
            assert (await quick.call(post(BODY))).status == 200
