"""Each time-out by itself, and that nothing else cuts a long call."""

from __future__ import annotations

import socket
import time

import httpx2
import pytest

from byom.catalog.snapshot import Retry
from byom.gateway import clock
from byom.testing import Behavior, FakeUpstream
from byom.types.limits import Limits
from byom.types.target import Target, Timeouts
from tests.gateway.rig import MODEL, Rig, key, route_to, running, snapshot_of, until
from tests.gateway.wire import body_of, post, wire

CHAT = body_of()
ONCE = Retry(attempts=1)


async def test_connecting_has_its_time() -> None:
    """gateway checklist 34: connect; a server whose queue is full answers to nothing"""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(address)
        target = Target(scheme="http", host="127.0.0.1", port=address[1], base_path="/v1")
        route = route_to(target, retry=ONCE, timeouts=Timeouts(connect=0.2))
        async with running(snapshot_of(route)) as rig, wire(rig.port) as line:
            reply = await line.call(post(CHAT))
            assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
            assert "No connection" in reply.error["message"]
        for filler in fillers:
            filler.close()


async def test_the_tls_handshake_is_a_part_of_connecting() -> None:
    """gateway checklist 34: TLS; a server that accepts and says nothing"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Target(scheme="https", host="127.0.0.1", port=silent.getsockname()[1], base_path="/v1")
        route = route_to(target, retry=ONCE, timeouts=Timeouts(connect=0.2))
        async with running(snapshot_of(route)) as rig, wire(rig.port) as line:
            reply = await line.call(post(CHAT))
            assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_byte_has_its_time_and_may_be_tried_again(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, stream: bool
) -> None:
    """gateway checklist 34: first byte"""
    timeouts = Timeouts(first_byte=0.2, idle=30.0)
    rig.change_route(timeouts=timeouts, retry=Retry(attempts=2, base_delay=0.001))
    upstream.enqueue(Behavior(hang=True), Behavior(text="Hi"))
    answer = await http.post("/chat/completions", content=body_of(stream=stream))
    assert "Hi" in answer.text
    await upstream.wait_for_disconnect()
    upstream.set_default(Behavior(hang=True))
    answer = await http.post("/chat/completions", content=body_of(stream=stream))
    assert answer.status_code == 504
    assert "first-byte" in answer.json()["error"]["message"]
    assert rig.rows[-1].attempts == 2


@pytest.mark.parametrize("server", ["own", "asgi"])
async def test_a_stream_that_stands_still_ends_in_an_error(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 34: idle between chunks"""
    rig.change_route(timeouts=Timeouts(idle=0.2, first_byte=30.0), retry=Retry(attempts=3))
    upstream.set_default(Behavior(tokens=("one", "two", "three"), hang_after_chunks=2))
    answer = await http.post("/chat/completions", content=body_of(stream=True))
    assert "two" in answer.text
    assert "idle time-out" in answer.text
    assert "[DONE]" not in answer.text
    await upstream.wait_for_disconnect()
    (row,) = rig.rows
    assert (row.state, row.error, row.attempts) == ("error", "upstream_timeout", 1)
    assert row.completion_tokens >= 2


async def test_a_whole_answer_that_stands_still_is_504(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 34: idle, before anything went out"""
    rig.change_route(timeouts=Timeouts(idle=0.2, first_byte=30.0), retry=ONCE)
    upstream.set_default(Behavior(first_byte_delay=60.0))
    async with wire(rig.port) as line:
        reply = await line.call(post(CHAT))
    assert reply.status == 504
    assert "stood still" in reply.error["message"]


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_whole_call_has_its_time(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, stream: bool
) -> None:
    """gateway checklist 34: total"""
    rig.change_route(timeouts=Timeouts(total=0.4))
    upstream.set_default(Behavior(chunks=1000, chunk_interval=0.05, silent=0.0 if stream else 60.0))
    started = time.monotonic()
    answer = await http.post("/chat/completions", content=body_of(stream=stream))
    assert "total time-out" in answer.text
    assert answer.status_code == (200 if stream else 504)
    assert 0.4 <= time.monotonic() - started < 5
    assert rig.rows[0].state == "error"


async def test_waiting_for_a_limit_counts_for_the_total_and_not_against_the_upstream(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """gateway checklist 34"""
    caller = key(limits=Limits(concurrency=1, max_wait=60.0))
    rig.swap(keys={caller.id: caller})
    circuit = type(rig.gateway.snapshot.routes[MODEL].circuit)(failures=1)
    rig.change_route(timeouts=Timeouts(total=0.0), circuit=circuit)
    upstream.set_default(Behavior(hang=True))
    async with wire(rig.port) as first, wire(rig.port) as second:
        await first.send(post(CHAT))
        await upstream.wait_for_requests(1)
        # A call goes on under the catalog that it began with: the first one has no bound and keeps the only slot.
        rig.change_route(timeouts=Timeouts(total=0.4), circuit=circuit)
        reply = await second.call(post(CHAT))
    assert reply.status == 504
    assert len(upstream.requests) == 1
    assert rig.gateway.circuits() == [(f"to-{MODEL}", "closed")]


async def test_a_long_call_is_not_cut_by_anything_hidden(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 35: an hour of silence with the time-outs switched off, told to the clock"""
    rig.change_route(timeouts=Timeouts(connect=0.0, first_byte=0.0, idle=0.0, total=0.0))
    for stream, behavior in ((False, Behavior(latency=0.3)), (True, Behavior(chunks=3, chunk_interval=0.1))):
        upstream.set_default(behavior)
        async with wire(rig.port) as line:
            await line.send(post(body_of(stream=stream)))
            await until(lambda: bool(rig.gateway.active))
            (exchange,) = rig.gateway.active
            clock.sweep(exchange, time.perf_counter() + 3600, 0.0)
            (connection,) = rig.listener.connections
            connection.expire(rig.listener.now() + 3600, idle=120, reading=60)
            assert (await line.reply()).status == 200
            assert rig.rows[-1].state == "ok"


async def test_by_default_a_call_of_a_quarter_of_an_hour_ends_well(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 35: as long as something comes now and then"""
    upstream.set_default(Behavior(chunks=3, chunk_interval=0.1))
    async with wire(rig.port) as line:
        await line.send(post(body_of(stream=True)))
        await until(lambda: any(one.reply is not None for one in rig.gateway.active))
        (exchange,) = rig.gateway.active
        exchange.started -= 7200
        clock.sweep(exchange, time.perf_counter() + 100, 0.0)
        assert b"[DONE]" in (await line.reply()).body
