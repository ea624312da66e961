"""Callers who leave: the upstream stops at once, nothing stays reserved, and the ledger says what happened."""

from __future__ import annotations

import ast
import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import openai
import pytest

import byom
from byom.catalog.snapshot import Retry
from byom.host.app import HostApp
from byom.models.function import FunctionChatModel
from byom.server.fallback import Fallback
from byom.testing import Behavior, FakeUpstream
from byom.types.chat import ChatRequest
from byom.types.limits import Budget, Limits, Scope, Window
from byom.types.model_info import ModelInfo
from byom.types.target import Target
from tests.gateway.rig import MODEL, Rig, key, route_to, running, snapshot_of, until
from tests.gateway.streams import BOTH_SERVERS, HELLO, RawCaller
from tests.host.builtin.conftest import Served

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)
HANGING = Behavior(tokens=("a", "b", "c", "d"), hang_after_chunks=2)
LIMITED = Limits(
    windows=(Window("requests", 10_000, 60.0), Window("tokens", 10**9, 60.0)),
    concurrency=1_000,
    budgets=(Budget(10**15),),
)


@pytest.fixture
async def rig(upstream: FakeUpstream, server: str) -> AsyncIterator[Rig]:
    """With limits of every kind, so that a reservation that is not given back is seen."""
    route = route_to(upstream, scopes=(Scope("model:m", LIMITED), Scope("connection:c", LIMITED)))
    before = asyncio.all_tasks()
    async with running(snapshot_of(route, keys=(key(limits=LIMITED),)), server=server) as started:
        yield started
        await until(lambda: not own_tasks() - before)


def own_tasks() -> set[asyncio.Task[object]]:
    """Tasks of this project's code under test: no call leaves one behind."""
    names = ("Exchange.", "GatewayApp.", "_watch", "RequestResponseCycle.run_asgi")
    return {task for task in asyncio.all_tasks() if any(name in repr(task.get_coro()) for name in names)}


async def cancelled(rig: Rig, count: int = 1) -> None:
    rows = await rig.wait_for_rows(count)
    assert [(row.state, row.status, row.error) for row in rows] == [("cancelled", 499, "client_disconnected")] * count
    assert rig.settled()


async def test_leaving_a_stream_stops_the_upstream_within_a_second(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 1, 3: and the tokens that were produced so far are counted and paid."""
    upstream.set_default(HANGING)
    caller = await RawCaller.post(rig, stream=True)
    await caller.read_until(b'"content": "b"')
    await caller.leave()
    gone = await upstream.wait_for_disconnect(1.0)
    assert gone.chunks_sent == 2
    await cancelled(rig)
    (row,) = rig.rows
    assert row.estimated
    assert row.stream
    assert 2 <= row.completion_tokens <= 4
    assert row.cost == row.prompt_tokens * 150_000 + row.completion_tokens * 600_000


async def test_leaving_a_whole_answer_stops_the_upstream_within_a_second(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 2."""
    upstream.set_default(Behavior(hang=True))
    caller = await RawCaller.post(rig)
    await upstream.wait_for_requests()
    await caller.leave()
    await upstream.wait_for_disconnect(1.0)
    await cancelled(rig)
    assert rig.rows[0].cost == 0


async def test_closing_the_connection_politely_is_leaving_too(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 1, 2."""
    upstream.set_default(Behavior(hang=True))
    caller = await RawCaller.post(rig)
    await upstream.wait_for_requests()
    await caller.close()
    await upstream.wait_for_disconnect(1.0)
    await cancelled(rig)


async def test_leaving_before_the_first_chunk_of_a_stream_stops_the_upstream(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 1: the head has gone out, no chunk has."""
    upstream.set_default(Behavior(hang_after_chunks=0))
    caller = await RawCaller.post(rig, stream=True)
    await caller.read_until(b"\r\n\r\n")
    await caller.leave()
    await upstream.wait_for_disconnect(1.0)
    await cancelled(rig)


@pytest.mark.parametrize("streaming", [True, False])
async def test_two_hundred_callers_who_leave_leave_nothing_behind(
    rig: Rig, upstream: FakeUpstream, streaming: bool
) -> None:
    """gateway checklist 3."""
    upstream.set_default(HANGING if streaming else Behavior(hang=True))
    callers = [await RawCaller.post(rig, stream=streaming) for _ in range(200)]
    await upstream.wait_for_requests(200)
    if streaming:
        await asyncio.gather(*(caller.read_until(b'"content": "b"') for caller in callers))
    assert rig.gateway.limiter.reservations == 200  # type: ignore[attr-defined]
    for caller in callers:
        await caller.leave()
    await upstream.wait_for_disconnect(count=200)
    await cancelled(rig, 200)
    await upstream.wait_for_connections(0)
    assert rig.gateway.open_connections == 0
    assert len({row.id for row in rig.rows}) == 200


async def test_a_slot_is_free_as_soon_as_its_caller_has_left(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 3: a concurrency limit of one."""
    upstream.set_default(HANGING)
    caller_key = key(limits=Limits(concurrency=1))
    async with running(snapshot_of(route_to(upstream), keys=(caller_key,)), server=server) as rig:
        for count in range(1, 6):
            caller = await RawCaller.post(rig, stream=True)
            await caller.read_until(b'"content": "b"')
            await caller.leave()
            await cancelled(rig, count)


async def test_leaving_while_waiting_for_a_limit_counts_nowhere(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 2, 3: the next in the queue gets the turn."""
    upstream.enqueue(Behavior(hang_after_chunks=1))
    caller_key = key(limits=Limits(concurrency=1, max_wait=30.0))
    async with running(snapshot_of(route_to(upstream), keys=(caller_key,)), server=server) as rig:
        first = await RawCaller.post(rig, stream=True)
        await first.read_until(b"data:")
        waiting = await RawCaller.post(rig)
        third = await RawCaller.post(rig)
        await until(lambda: len(rig.gateway.active) == 3)
        await waiting.leave()
        (row,) = await rig.wait_for_rows(1)
        assert (row.state, row.attempts) == ("cancelled", 0)
        assert row.waited > 0
        await first.leave()
        assert b"200 OK" in await third.read_until(b"\r\n\r\n")
        assert [row.state for row in await rig.wait_for_rows(3)] == ["cancelled", "cancelled", "ok"]
        await third.close()
    assert len(upstream.requests) == 2


@asynccontextmanager
async def full_backlog() -> AsyncIterator[Target]:
    """A server whose queue of new connections is full: connecting to it takes for ever."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    address = listening.getsockname()
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.settimeout(0)
        filler.connect_ex(address)
        fillers.append(filler)
    try:
        yield Target(scheme="http", host="127.0.0.1", port=address[1], base_path="/v1")
    finally:
        for one in (*fillers, listening):
            one.close()


async def test_leaving_while_the_gateway_connects_ends_the_attempt(server: str) -> None:
    """gateway checklist 2, 3."""
    async with full_backlog() as target, running(snapshot_of(route_to(target)), server=server) as rig:
        caller = await RawCaller.post(rig)
        await until(lambda: any(exchange.attempts for exchange in rig.gateway.active))
        await caller.leave()
        await cancelled(rig)
        assert rig.gateway.open_connections == 0
        await until(lambda: not own_tasks())


async def test_leaving_while_a_retry_waits_makes_no_other_attempt(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 2, 3."""
    upstream.set_default(Behavior(status=503, retry_after=15))
    route = route_to(upstream, retry=Retry(attempts=3))
    async with running(snapshot_of(route), server=server) as rig:
        caller = await RawCaller.post(rig)
        await until(lambda: rig.gateway.figures.of(MODEL).retries)
        await caller.leave()
        await cancelled(rig)
        await until(lambda: not own_tasks())
    assert len(upstream.requests) == 1


async def test_leaving_one_of_two_equal_calls_does_not_end_the_other(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 3, 33: a duplicate that waits for the answer takes over the call."""
    upstream.enqueue(Behavior(hang=True))
    upstream.set_default(Behavior(text="Hi"))
    first = await RawCaller.post(rig, headers="idempotency-key: k\r\n")
    await upstream.wait_for_requests()
    second = await RawCaller.post(rig, headers="idempotency-key: k\r\n")
    await until(lambda: any(entry.waiting for entry in rig.gateway.idempotency._entries.values()))
    await first.leave()
    assert b"200 OK" in await second.read_until(b"\r\n\r\n")
    assert sorted(row.state for row in await rig.wait_for_rows(2)) == ["cancelled", "ok"]
    await second.close()


async def test_leaving_while_the_answer_is_unread_stops_the_upstream(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 1, 19: a caller that has stopped reading, and then leaves."""
    upstream.set_default(Behavior(tokens=("x" * 65536,) * 1000))
    caller = await RawCaller.post(rig, stream=True)
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: any(one.delivery is not None and one.delivery.stalled_since for one in rig.gateway.active))
    await caller.leave()
    await upstream.wait_for_disconnect(1.0)
    await cancelled(rig)


async def test_the_sdk_that_is_cancelled_half_way_cancels_the_upstream(
    rig: Rig, upstream: FakeUpstream, sdk: openai.AsyncOpenAI
) -> None:
    """gateway checklist 1, 2."""
    upstream.set_default(Behavior(hang=True))
    call = asyncio.create_task(sdk.chat.completions.create(model=MODEL, messages=HELLO))  # type: ignore[call-overload]
    await upstream.wait_for_requests()
    call.cancel()
    await upstream.wait_for_disconnect(1.0)
    await cancelled(rig)


async def test_a_connection_whose_call_was_cancelled_is_not_used_again(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 1, 36: what is left of an answer never becomes the answer of another caller."""
    for number in range(5):
        upstream.enqueue(HANGING)
        caller = await RawCaller.post(rig, stream=True)
        await caller.read_until(b'"content": "b"')
        await caller.leave()
        await rig.wait_for_rows(2 * number + 1)
        async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False) as http:
            answer = await http.post(
                "/chat/completions", json={"model": MODEL, "messages": [{"role": "user", "content": f"n{number}"}]}
            )
        assert f"n{number}" in answer.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    started = Served()
    yield started
    started.stop()


class EndlessFunction:
    """A Python function that writes for ever, and counts what it has written."""

    def __init__(self) -> None:
        self.count = 0
        self.running = 0

    def __call__(self, request: ChatRequest) -> Iterator[str]:
        self.running += 1
        try:
            while True:
                self.count += 1
                yield f"{self.count} "
        finally:
            self.running -= 1


@pytest.mark.parametrize("streaming", [True, False])
async def test_leaving_stops_a_model_that_is_a_python_function(server: str, streaming: bool) -> None:
    """gateway checklist 4: its generator is closed, so what it counts stands still."""
    function = EndlessFunction()
    host = Fallback(HostApp([FunctionChatModel(function, ModelInfo(name=MODEL))]))
    hosting = await asyncio.get_running_loop().create_server(host.protocol, "127.0.0.1", 0)
    port = hosting.sockets[0].getsockname()[1]
    target = Target(scheme="http", host="127.0.0.1", port=port, base_path="/v1", trusted=True)
    async with running(snapshot_of(route_to(target)), server=server) as rig:
        for number in range(1, 4):
            caller = await RawCaller.post(rig, stream=streaming)
            if streaming:
                await caller.read_until(b"data:")
            await until(lambda: function.count and function.running == 1)
            await caller.leave()
            await cancelled(rig, number)
            await until(lambda: function.running == 0)
            function.count = 0
    hosting.close()
    await host.stop(2.0)
    assert function.count == 0


async def test_leaving_a_built_in_model_leaves_its_process_free_for_the_next_call(served: Served, server: str) -> None:
    """gateway checklist 4: in the process that serves the built-in models."""
    target = Target(
        scheme="http", host="127.0.0.1", port=served.port, base_path="/v1", authorization="Bearer secret", trusted=True
    )
    async with running(snapshot_of(route_to(target, upstream_model="extractive")), server=server) as rig:
        text = " ".join(f"Sentence number {number} tells of a fox that runs." for number in range(400))
        caller = await RawCaller.post(rig, messages=[{"role": "user", "content": text}])
        await until(lambda: rig.gateway.active)
        await caller.leave()
        await rig.wait_for_rows(1)
        async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False, timeout=10) as http:
            answer = await http.post("/chat/completions", json={"model": MODEL, "messages": HELLO})
        assert answer.status_code == 200, answer.text
    assert rig.rows[1].state == "ok"


async def test_leaving_is_noticed_through_everything_that_stands_before_the_gateway(
    upstream: FakeUpstream, server: str
) -> None:
    """gateway checklist 5: the hub's whole application, on an ASGI server."""
    upstream.enqueue(HANGING, Behavior(hang=True))
    async with running(snapshot_of(route_to(upstream)), server="hub") as rig:
        for count, streaming in enumerate([True, False], 1):
            caller = await RawCaller.post(rig, stream=streaming)
            await upstream.wait_for_requests(count)
            await caller.leave()
            await upstream.wait_for_disconnect(1.0, count=count)
            await cancelled(rig, count)


def test_no_middleware_hides_that_a_caller_has_left(server: str) -> None:
    """gateway checklist 5: Starlette's base class does, and so does ``@app.middleware``."""
    for path in Path(byom.__file__).parent.rglob("*.py"):
        names = {
            getattr(node, "id", getattr(node, "attr", getattr(node, "name", None)))
            for node in ast.walk(ast.parse(path.read_text()))
        }
        assert not names & {"BaseHTTPMiddleware", "middleware"}, path


async def test_a_caller_who_leaves_before_its_body_has_come_costs_nothing(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 2: no call has begun."""
    _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(RawCaller.request("chat/completions", "")[:-10])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False) as http:
        assert (await http.get("/models")).status_code == 200
    assert rig.rows == []
    assert upstream.requests == []
