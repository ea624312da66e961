"""Callers who read slowly: what waits for them stays small, and it all arrives in the end."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from byom.testing import Behavior, FakeUpstream, Response
from tests.gateway.rig import Rig, until
from tests.gateway.streams import BOTH_SERVERS, RawCaller, chat, chunk, event, finish, payloads, stream, text_of

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)
MEBIBYTE = 1024 * 1024


async def post_and_do_not_read(rig: Rig, **fields: Any) -> RawCaller:
    """A caller with a small receive buffer that reads nothing."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(0)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", rig.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2**14)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(RawCaller.request("chat/completions", "", **fields))
    await writer.drain()
    return RawCaller(reader, writer)


def waiting_bytes(rig: Rig) -> list[int]:
    """For each call, what the gateway holds in memory of its answer."""
    found = []
    for exchange in rig.gateway.active:
        down: Any = exchange.down
        transport = getattr(down, "transport", None)
        if transport is None:
            # An ASGI answer: what waits in its queue, and what uvicorn has of it.
            cycle = down._send.__self__
            assert isinstance(cycle.transport.get_protocol(), HttpToolsProtocol)
            held, transport = down._held, cycle.transport
        else:
            held = 0
        tee = getattr(exchange.reply, "_tee", None)
        held += tee._held if tee is not None else 0
        found.append(held + transport.get_write_buffer_size())
    return found


def keep_kernel_buffers_small(rig: Rig, upstream: FakeUpstream) -> None:
    """So that what is sent has to wait in processes, where it can be counted, and not in the kernel."""
    assert upstream._server is not None
    for listening in (rig.listening, upstream._server.sockets[0]):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)


async def all_stalled(rig: Rig, count: int) -> None:
    def stalled() -> int:
        return sum(1 for one in rig.gateway.active if one.delivery and one.delivery.stalled_since)

    await until(lambda: stalled() >= count, 20)


async def test_two_hundred_slow_readers_hold_less_than_a_mebibyte_each(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 19: each is offered 16 MiB by a fast upstream."""
    keep_kernel_buffers_small(rig, upstream)
    upstream.set_default(Behavior(tokens=("x" * 65536,) * 250))
    callers = [await post_and_do_not_read(rig, stream=True) for _ in range(200)]
    await all_stalled(rig, 200)
    held = waiting_bytes(rig)
    assert len(held) == 200
    assert max(held) < MEBIBYTE
    sent = [request.chunks_sent for request in upstream.requests]
    assert max(sent) < 50
    for caller in callers:
        await caller.leave()
    assert {row.state for row in await rig.wait_for_rows(200)} == {"cancelled"}


async def test_a_slow_reader_gets_every_byte(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 19: the upstream is paused and resumed, nothing is lost or doubled."""
    tokens = tuple(f"{number:08d}" * 2048 for number in range(300))
    upstream.set_default(Behavior(tokens=tokens))
    async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False, timeout=20) as http:
        parts = []
        async with http.stream("POST", "/chat/completions", json=chat(stream=True)) as answer:
            await all_stalled(rig, 1)
            async for part in answer.aiter_bytes():
                parts.append(part)
                await asyncio.sleep(0)
    assert text_of(payloads(b"".join(parts).decode())) == "".join(tokens)
    assert rig.rows[0].state == "ok"


async def test_a_connection_that_was_paused_at_the_end_of_an_answer_can_be_used_again(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """gateway checklist 19, 37: the last bytes fill the caller's buffer, and the connection goes back to the pool."""
    keep_kernel_buffers_small(rig, upstream)
    callers = []
    for size in range(64 * 1024, 320 * 1024, 16 * 1024):
        # One of these sizes fills the buffer with the read that also ends the answer.
        answer = event(chunk("x" * size)) + event(finish()) + b"data: [DONE]\n\n"
        whole = Response(body=answer, headers={"content-type": "text/event-stream"})
        upstream.set_default(lambda request, whole=whole: whole)  # type: ignore[misc]
        callers.append(await post_and_do_not_read(rig, stream=True))
        await upstream.wait_for_requests(2 * len(callers) - 1)
        async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False, timeout=3) as http:
            assert len(text_of(payloads(await stream(http)))) == size
    for caller in callers:
        await caller.leave()


async def test_a_slow_reader_does_not_hold_up_others(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 19."""
    upstream.enqueue(Behavior(tokens=("x" * 16384,) * 1000))
    slow = await post_and_do_not_read(rig, stream=True)
    await all_stalled(rig, 1)
    for _ in range(20):
        assert "echo" in text_of(payloads(await stream(http)))
    await slow.leave()
    await rig.wait_for_rows(21)


async def test_a_large_whole_answer_is_held_back_for_a_slow_reader(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 19: not only streams."""
    upstream.set_default(Behavior(text="x" * 16 * MEBIBYTE))
    caller = await post_and_do_not_read(rig)
    await all_stalled(rig, 1)
    assert max(waiting_bytes(rig)) < MEBIBYTE
    await caller.leave()
    assert (await rig.wait_for_rows(1))[0].state == "cancelled"


async def test_one_json_without_end_is_not_collected_for_a_stream(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 19: an answer that has to be made into a stream is bounded too."""
    upstream.set_default(Behavior(malformed="truncated_json", text="x" * 40 * MEBIBYTE))
    async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False, timeout=20) as http:
        answer = await http.post("/chat/completions", json=chat(stream=True))
    assert answer.status_code == 502
    assert "too large" in answer.json()["error"]["message"]
    assert rig.settled()
