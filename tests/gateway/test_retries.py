"""Attempts after the first: when, how often, and that they never multiply."""

from __future__ import annotations

import asyncio
import time

import httpx2
import openai
import pytest

from byom.catalog.snapshot import Circuit, Retry
from byom.gateway.circuit import STARTING_RETRIES
from byom.testing import Behavior, FakeUpstream, RateLimit
from byom.types.target import Timeouts
from tests.gateway.rig import MODEL, TOKEN, Rig
from tests.gateway.wire import HELLO, body_of, post, wire

CHAT = body_of()
QUICK = Retry(attempts=3, base_delay=0.001, max_delay=0.002)
PASSING = [
    Behavior(status=500),
    Behavior(status=502),
    Behavior(status=503),
    Behavior(status=504),
    Behavior(status=529),
    Behavior(status=408),
    Behavior(status=409),
    Behavior(status=429),
    Behavior(status=429, retry_after_ms=2),
    Behavior(drop="reset"),
    Behavior(drop="close"),
    Behavior(malformed="html"),
    Behavior(malformed="empty"),
    Behavior(malformed="truncated_json"),
    Behavior(cut_after_chunks=0),
]


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize(
    ("behavior", "stream"),
    [(one, False) for one in PASSING] + [(one, True) for one in PASSING if one.cut_after_chunks is None],
    ids=lambda one: str(one) if isinstance(one, bool) else f"{one.status}-{one.drop}-{one.malformed}",
)
async def test_what_may_pass_by_itself_is_tried_again(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, behavior: Behavior, stream: bool
) -> None:
    """gateway checklist 31 and 57: each attempt is recorded, the caller pays once"""
    rig.change_route(retry=QUICK)
    upstream.enqueue(behavior, Behavior(text="Hi"))
    answer = await http.post("/chat/completions", content=body_of(stream=stream))
    assert answer.status_code == 200
    assert "Hi" in answer.text
    assert answer.headers["x-byom-attempts"] == "2"
    assert len(upstream.requests) == 2
    assert upstream.requests[0].body == upstream.requests[1].body
    (row,) = await rig.wait_for_rows(1)
    assert (row.state, row.attempts) == ("ok", 2)
    assert row.attempt_list is not None
    ((first),) = row.attempt_list
    assert (first.connection, first.model) == (f"to-{MODEL}", MODEL)
    assert first.status == (behavior.status if behavior.status != 200 else 0)
    assert row.cost == row.prompt_tokens * 150_000 + row.completion_tokens * 600_000


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422])
async def test_a_mistake_is_not_tried_again(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, status: int
) -> None:
    """gateway checklist 31"""
    rig.change_route(retry=QUICK)
    upstream.set_default(Behavior(status=status))
    await http.post("/chat/completions", content=CHAT)
    assert len(upstream.requests) == 1


async def test_attempts_end_and_the_sdk_is_told_not_to_go_on(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 30: SDK's tries times the gateway's would be nine"""
    rig.change_route(retry=QUICK)
    for behavior in (Behavior(status=500), Behavior(status=429), Behavior(drop="reset")):
        upstream.set_default(behavior)
        upstream.requests.clear()
        async with openai.AsyncOpenAI(base_url=rig.url, api_key=TOKEN, max_retries=2, timeout=10) as sdk:
            with pytest.raises(openai.APIStatusError) as raised:
                await sdk.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
        assert raised.value.response.headers["x-should-retry"] == "false"
        # A reused connection that breaks at once may have been idle for too long: that try does not count.
        assert len(upstream.requests) == 3 + (behavior.drop is not None)


async def test_nothing_is_tried_again_once_a_byte_of_the_answer_has_gone_out(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 31: two generations are never joined"""
    rig.change_route(retry=QUICK)
    upstream.enqueue(Behavior(tokens=("one", "two"), cut_after_chunks=1))
    upstream.set_default(Behavior(tokens=("other",)))
    answer = await http.post("/chat/completions", content=body_of(stream=True))
    assert "one" in answer.text
    assert "other" not in answer.text
    assert '"error"' in answer.text
    assert len(upstream.requests) == 1


async def test_a_stream_that_only_had_comments_may_be_tried_again(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 31: a comment is no part of an answer"""
    rig.change_route(retry=QUICK)
    rig.swap(settings=type(rig.gateway.settings)(keepalive_seconds=0.05))
    upstream.enqueue(Behavior(latency=0.4, drop="reset"), Behavior(text="Hi"))
    answer = await http.post("/chat/completions", content=body_of(stream=True))
    assert answer.text.startswith(": keepalive")
    assert "Hi" in answer.text
    assert answer.text.count("[DONE]") == 1


async def test_a_wait_that_the_upstream_asks_for_is_kept(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 32"""
    rig.change_route(retry=QUICK)
    upstream.enqueue(Behavior(status=429, retry_after_ms=150), Behavior())
    started = time.monotonic()
    async with wire(rig.port) as line:
        assert (await line.call(post(CHAT))).status == 200
    assert upstream.requests[1].received_at - upstream.requests[0].received_at >= 0.15
    assert time.monotonic() - started < 5


async def test_an_upstreams_rate_limit_is_waited_out_without_breaking_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 32"""
    rig.change_route(retry=QUICK)
    upstream.set_default(Behavior(rate_limit=RateLimit(1, 0.2, tolerance=0.01)))
    async with wire(rig.port) as line:
        for _ in range(3):
            assert (await line.call(post(CHAT))).status == 200
    assert len(rig.rows) == 3


async def test_waits_grow_and_differ(rig: Rig, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """gateway checklist 32: with jitter, or all callers come back in the same moment"""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *rest: object) -> None:
        if seconds >= 0.2:
            waits.append(seconds)
            seconds = 0
        await real(seconds)

    rig.change_route(retry=Retry(attempts=6, base_delay=1.0, max_delay=8.0), circuit=Circuit(failures=0))
    upstream.set_default(Behavior(status=500))
    monkeypatch.setattr("byom.gateway.exchange.asyncio.sleep", sleep)
    async with wire(rig.port) as line:
        assert (await line.call(post(CHAT))).status == 502
    assert len(waits) == 5
    for wait, most in zip(waits, (1, 2, 4, 8, 8), strict=True):
        assert most / 2 <= wait <= most
    assert len(set(waits)) == 5


async def test_retries_are_a_small_share_of_calls(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 32: a retry budget, 20 % and a few to begin with"""
    rig.change_route(retry=QUICK, circuit=Circuit(failures=0))
    upstream.set_default(Behavior(status=500))
    async with wire(rig.port) as line:
        for _ in range(60):
            await line.call(post(CHAT))
    extra = len(upstream.requests) - 60
    assert STARTING_RETRIES <= extra <= STARTING_RETRIES + 0.2 * len(upstream.requests) + 1


async def test_the_total_time_bounds_attempts_and_waits_together(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 32: a deadline over all attempts"""
    retry = Retry(attempts=100, base_delay=0.3, max_delay=0.3, budget=1.0)
    rig.change_route(retry=retry, timeouts=Timeouts(total=0.5))
    upstream.set_default(Behavior(status=500))
    async with wire(rig.port) as line:
        reply = await line.call(post(CHAT))
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    assert 2 <= len(upstream.requests) <= 5
    (row,) = rig.rows
    assert row.attempts == len(upstream.requests)


async def test_a_caller_who_leaves_while_a_retry_waits_ends_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 2"""
    rig.change_route(retry=Retry(attempts=3, base_delay=30.0, max_delay=30.0))
    upstream.set_default(Behavior(status=500))
    async with wire(rig.port) as line:
        await line.send(post(CHAT))
        await upstream.wait_for_requests(1)
        await upstream.wait_until_idle()
    (row,) = await rig.wait_for_rows(1)
    assert (row.state, row.status) == ("cancelled", 499)
    assert len(upstream.requests) == 1
