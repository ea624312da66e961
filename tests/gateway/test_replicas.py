"""One model at several places: calls go to the least busy one, and past one that is gone."""

from __future__ import annotations

import asyncio
import contextlib

from byom.catalog.snapshot import Retry, Route
from byom.testing import Behavior, FakeUpstream
from tests.gateway.rig import MODEL, route_to, running, snapshot_of, target_of
from tests.gateway.wire import body_of, post, wire


def at_places(*upstreams: FakeUpstream, gone: int | None = None) -> Route:
    places = [(one.host, one.port) for one in map(target_of, upstreams[1:])]
    if gone is not None:
        places.insert(0, ("127.0.0.1", gone))
    return route_to(target_of(upstreams[0], replicas=tuple(places)), retry=Retry(attempts=3, base_delay=0.001))


async def test_calls_at_once_are_spread_evenly_and_calls_one_by_one_take_turns() -> None:
    slow = Behavior(text="done", latency=0.2)
    async with contextlib.AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(FakeUpstream(slow, models=(MODEL,))) for _ in range(3)]
        rig = await stack.enter_async_context(running(snapshot_of(at_places(*fakes))))
        lines = [await stack.enter_async_context(wire(rig.port)) for _ in range(6)]
        answers = await asyncio.gather(*(line.call(post(body_of())) for line in lines))
        assert [answer.status for answer in answers] == [200] * 6
        assert [len(fake.requests) for fake in fakes] == [2, 2, 2]
        for fake in fakes:
            fake.set_default(Behavior(text="done"))
        for _ in range(3):
            assert (await lines[0].call(post(body_of()))).status == 200
        assert [len(fake.requests) for fake in fakes] == [3, 3, 3]
        busy, since = rig.gateway.activity(f"to-{MODEL}")
        assert busy == 0
        assert since is not None
        assert since < 5
        assert rig.gateway.activity("nobody") == (0, None)


async def test_a_place_that_is_gone_costs_no_call() -> None:
    async with FakeUpstream(models=(MODEL,)) as away:
        gone = int(away.url.rpartition(":")[2])
    async with (
        FakeUpstream(models=(MODEL,)) as one,
        running(snapshot_of(at_places(one, gone=gone))) as rig,
        wire(rig.port) as line,
    ):
        for _ in range(6):
            assert (await line.call(post(body_of()))).status == 200
        assert len(one.requests) == 6
        tried = [attempt for row in rig.rows for attempt in row.attempt_list or ()]
        assert sum(attempt.error == "upstream_unreachable" for attempt in tried) == 1, "it was tried again and again"
