"""An upstream that fails often is left alone for a while; then one call tries it."""

from __future__ import annotations

import pytest

from byom.catalog.snapshot import Circuit, Retry
from byom.gateway.circuit import Breaker
from byom.testing import Behavior, FakeUpstream
from byom.types.target import NetworkPolicy
from tests.gateway.rig import MODEL, Rig
from tests.gateway.wire import body_of, post, wire

BODY = body_of()


@pytest.fixture(autouse=True)
def settings(rig: Rig) -> None:
    rig.change_route(circuit=Circuit(failures=3, seconds=30.0), retry=Retry(attempts=1))


def wake(rig: Rig) -> None:
    """The time for which the upstream is left alone is over."""
    breaker(rig).open_until = 0.001


def breaker(rig: Rig) -> Breaker:
    (upstream,) = rig.gateway._upstreams.values()
    return upstream.breaker


async def statuses(rig: Rig, count: int) -> list[int]:
    async with wire(rig.port) as line:
        return [(await line.call(post(BODY))).status for _ in range(count)]


async def test_it_opens_after_so_many_failures_and_closes_after_a_probe(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    upstream.set_default(Behavior(status=500))
    assert await statuses(rig, 5) == [502, 502, 502, 503, 503]
    assert len(upstream.requests) == 3
    assert rig.gateway.circuits() == [(f"to-{MODEL}", "open")]
    async with wire(rig.port) as line:
        reply = await line.call(post(BODY))
    assert reply.error["code"] == "circuit_open"
    assert 25 <= int(reply.headers["retry-after"]) <= 30
    wake(rig)
    assert rig.gateway.circuits() == [(f"to-{MODEL}", "half-open")]
    upstream.set_default(Behavior())
    assert await statuses(rig, 3) == [200, 200, 200]
    assert rig.gateway.circuits() == [(f"to-{MODEL}", "closed")]


async def test_a_probe_that_fails_opens_it_again_at_once(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    upstream.set_default(Behavior(status=500))
    await statuses(rig, 3)
    wake(rig)
    assert await statuses(rig, 3) == [502, 503, 503]
    assert len(upstream.requests) == 4


async def test_only_one_call_probes_whoever_else_is_refused(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    upstream.set_default(Behavior(status=500))
    await statuses(rig, 3)
    wake(rig)
    upstream.set_default(Behavior(hang=True))
    async with wire(rig.port) as probe:
        await probe.send(post(BODY))
        await upstream.wait_for_requests(4)
        assert await statuses(rig, 4) == [503] * 4
        assert len(upstream.requests) == 4
    await rig.wait_for_rows(8)
    # The caller of the probe has left: the next call probes.
    upstream.set_default(Behavior())
    assert await statuses(rig, 1) == [200]


async def test_a_probe_that_the_network_policy_stops_leaves_room_for_the_next(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    upstream.set_default(Behavior(status=500, headers={"connection": "close"}))
    await statuses(rig, 3)
    await upstream.wait_for_connections(0)
    wake(rig)
    allowed = rig.gateway.snapshot.network
    rig.swap(network=NetworkPolicy(allow_loopback=False))
    assert await statuses(rig, 1) == [403]
    rig.swap(network=allowed)
    upstream.set_default(Behavior())
    assert await statuses(rig, 1) == [200]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
async def test_mistakes_and_limits_do_not_open_it(rig: Rig, upstream: FakeUpstream, status: int) -> None:
    """gateway checklist 39: the server works"""
    upstream.set_default(Behavior(status=status))
    await statuses(rig, 6)
    assert len(upstream.requests) == 6
    assert rig.gateway.circuits() == [(f"to-{MODEL}", "closed")]


async def test_a_success_in_between_begins_the_count_anew(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    bad, good = Behavior(status=500), Behavior()
    upstream.enqueue(bad, bad, good, bad, bad, good)
    assert await statuses(rig, 6) == [502, 502, 200, 502, 502, 200]


async def test_callers_who_leave_do_not_open_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    upstream.set_default(Behavior(hang=True))
    for number in range(1, 5):
        async with wire(rig.port) as line:
            await line.send(post(BODY))
            await upstream.wait_for_requests(number)
        await rig.wait_for_rows(number)
    assert rig.gateway.circuits() == [(f"to-{MODEL}", "closed")]


async def test_zero_failures_switch_it_off(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 39"""
    rig.change_route(circuit=Circuit(failures=0))
    upstream.set_default(Behavior(status=500))
    assert await statuses(rig, 8) == [502] * 8


async def test_an_upstream_that_nobody_calls_gets_no_calls(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 40: nothing that would be billed, also while the circuit is open"""
    upstream.set_default(Behavior(status=500))
    await statuses(rig, 3)
    wake(rig)
    rig.gateway._sweep(rig.gateway.loop.time())
    assert len(upstream.requests) == 3
