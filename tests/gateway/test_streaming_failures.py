"""Streams that break: the caller always learns of it, and the ledger never says that all went well."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest

from byom.testing import Behavior, FakeUpstream, Response
from byom.types.target import Timeouts
from tests.gateway.rig import MODEL, Rig, route_to, running, snapshot_of
from tests.gateway.streams import (
    BOTH_SERVERS,
    HELLO,
    STREAM_HEAD,
    Gate,
    RawCaller,
    caller_of,
    chunk,
    event,
    finish,
    payloads,
    stream,
    text_of,
)

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)
TOKENS = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("cut", ["reset", "close", "end"])
@pytest.mark.parametrize("wants_usage", [True, False])
async def test_a_stream_that_breaks_ends_in_an_error_event(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, cut: str, wants_usage: bool
) -> None:
    """gateway checklist 14, 15: reset, closed half-way, or ended tidily but too early."""
    upstream.set_default(Behavior(tokens=TOKENS, cut_after_chunks=3, cut=cut))  # type: ignore[arg-type]
    text = await stream(http, stream_options={"include_usage": wants_usage})
    *events, last = payloads(text)
    assert text_of(events) == "abc"
    assert last["error"]["type"] == "upstream_error"
    assert last["error"]["code"] == "upstream_protocol"
    assert "[DONE]" not in text
    (row,) = rig.rows
    assert (row.state, row.status, row.error) == ("error", 200, "upstream_protocol")
    assert row.estimated
    assert row.completion_tokens >= 3
    assert len(upstream.requests) == 1


async def test_a_truncated_stream_is_a_failure_of_the_upstream(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 15: neither finish_reason nor [DONE]."""
    upstream.set_default(Behavior(tokens=TOKENS, omit_done=True, omit_finish=True, usage="none"))
    text = await stream(http)
    assert "ended its answer early" in payloads(text)[-1]["error"]["message"]
    assert rig.rows[0].state == "error"


async def test_an_empty_stream_is_a_failure(gate: Gate, server: str) -> None:
    """gateway checklist 15: no event at all."""
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.end()
        assert b'"error"' in await caller.read_until(b"0\r\n\r\n")
        await caller.close()
    assert rig.rows[0].state == "error"


async def test_half_an_event_never_reaches_the_caller(gate: Gate, server: str) -> None:
    """gateway checklist 14, 15: an SDK would fail on it before it reads the error event."""
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(event(chunk("whole")), event(chunk("halved"))[:30])
        await gate.end()
        got = await caller.read_until(b"0\r\n\r\n")
        assert b"whole" in got
        assert got.count(b'"object"') == 1
        assert b'"error"' in got
        await caller.close()


@pytest.mark.parametrize("ending", [b"data: [DONE]\n\n", b""], ids=["done", "plain"])
async def test_an_error_event_of_the_upstream_passes_and_ends_the_stream(
    gate: Gate, server: str, ending: bytes
) -> None:
    """gateway checklist 14: a [DONE] after it does not turn it into a good end."""
    error = event({"error": {"message": "The engine stopped.", "type": "server_error", "code": "x"}})
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(event(chunk("a")), error + ending)
        await gate.end()
        got = await caller.read_until(b"0\r\n\r\n")
        assert error in got
        assert got.count(b'"error"') == 1
        assert b"[DONE]" not in got
        if server == "own":
            # uvicorn keeps the connection: the chunks end, and [DONE] is what is missing.
            assert await caller.reader.read() == b""
        await caller.close()
    assert (rig.rows[0].state, rig.rows[0].error) == ("error", "upstream_stream_error")


async def test_the_sdk_raises_on_an_error_in_the_middle(
    rig: Rig, upstream: FakeUpstream, sdk: openai.AsyncOpenAI
) -> None:
    """gateway checklist 14."""
    upstream.set_default(Behavior(tokens=TOKENS, error_after_chunks=2))
    seen: list[str | None] = []

    async def read() -> None:
        chunks = await sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True)  # type: ignore[arg-type]
        async for one in chunks:
            seen.append(one.choices[0].delta.content)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(openai.APIError, match="engine stopped"):
        await read()
    assert "".join(filter(None, seen)) == "ab"
    assert rig.rows[0].state == "error"


async def test_a_stream_that_stands_still_is_timed_out_with_an_error_event(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 14, 34: comments to the caller do not count as progress of the upstream."""
    upstream.set_default(Behavior(tokens=TOKENS, hang_after_chunks=2))
    snapshot = snapshot_of(route_to(upstream, timeouts=Timeouts(idle=0.3)), keepalive_seconds=0.1)
    async with running(snapshot, server=server) as rig, caller_of(rig) as http:
        text = await stream(http)
        await upstream.wait_for_disconnect()
    assert text_of(payloads(text)[:-1]) == "ab"
    assert payloads(text)[-1]["error"]["code"] == "upstream_timeout"
    assert (rig.rows[0].state, rig.rows[0].error) == ("error", "upstream_timeout")


async def test_an_upstream_that_hangs_after_done_is_let_go_without_an_error(gate: Gate, server: str) -> None:
    """gateway checklist 13: nothing but the end follows [DONE]."""
    route = route_to(gate.target, timeouts=Timeouts(idle=0.3))
    async with running(snapshot_of(route, keepalive_seconds=0.1), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(event(chunk("a")), event(finish()), b"data: [DONE]\n\n")
        got = await caller.read_until(b"0\r\n\r\n")
        assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        await gate.left.wait()
        await caller.close()
    assert [row.state for row in rig.rows] == ["ok"]


async def test_a_connection_that_breaks_after_done_changes_nothing(gate: Gate, server: str) -> None:
    """gateway checklist 13: the answer was whole."""
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(event(chunk("a")), event(finish()), b"data: [DONE]\n\n")
        await caller.read_until(b"[DONE]\n\n")
        gate.reset()
        assert await caller.read_until(b"0\r\n\r\n") == b"\r\n0\r\n\r\n"
        await caller.close()
    assert [row.state for row in rig.rows] == ["ok"]


async def test_an_error_with_line_ends_stays_one_event(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 14, 17: a pretty-printed error that comes after a comment."""
    body = json.dumps({"error": {"message": "No.", "type": "t", "param": None, "code": None}}, indent=1)
    upstream.set_default(Behavior(latency=0.5, status=400, body=body.replace("\n", "\r\n")))
    async with (
        running(snapshot_of(route_to(upstream), keepalive_seconds=0.2), server=server) as rig,
        caller_of(rig) as http,
    ):
        assert payloads(await stream(http))[-1]["error"]["message"] == "No."


async def test_a_failed_response_is_not_logged_as_a_good_one(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 14, 15: the responses route says so in an event of its own."""
    failed = {"type": "response.failed", "response": {"id": "r", "error": {"message": "x"}, "usage": None}}
    body = b"event: response.failed\n" + event(failed)
    upstream.set_default(lambda request: Response(body=body, headers={"content-type": "text/event-stream"}))
    answer = await http.post("/responses", json={"model": MODEL, "input": "x", "stream": True})
    assert answer.content == body
    assert rig.rows[0].state == "error"


async def test_a_broken_stream_of_another_route_is_detected(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 15."""
    upstream.set_default(Behavior(tokens=TOKENS, cut_after_chunks=2, cut="end"))
    answer = await http.post("/responses", json={"model": MODEL, "input": "x", "stream": True})
    assert '"error"' in answer.text
    assert rig.rows[0].state == "error"


async def test_a_whole_answer_that_breaks_off_breaks_off_for_the_caller_too(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 14: bytes that went out cannot be taken back, so the connection ends early."""
    upstream.set_default(Behavior(text="x" * 900_000, cut_after_chunks=1))
    with pytest.raises(httpx2.TransportError):
        await http.post("/chat/completions", json={"model": MODEL, "messages": HELLO})
    (row,) = await rig.wait_for_rows(1)
    assert row.state == "error"
    assert len(upstream.requests) == 1
