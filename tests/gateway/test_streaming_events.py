"""Event streams that go well: when each byte leaves, and that none is lost, added or changed."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream, Response, ScriptedToolCall
from tests.gateway.rig import MODEL, Rig, route_to, running, snapshot_of
from tests.gateway.streams import (
    BOTH_SERVERS,
    STREAM_HEAD,
    Gate,
    RawCaller,
    caller_of,
    chat,
    chunk,
    event,
    finish,
    payloads,
    stream,
    text_of,
)

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)
DONE = b"data: [DONE]\n\n"
UNICODE = "Grüße 😀👩‍👩‍👧 漢字かな \u2028 \u0085 end"


async def test_the_head_of_a_stream_forbids_caching_buffering_and_compression(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 7."""
    upstream.set_default(Behavior(text="a b"))
    answer = await http.post("/chat/completions", json=chat(stream=True), headers={"accept-encoding": "gzip, br"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers


async def test_each_chunk_arrives_before_the_next_one_is_sent(gate: Gate, server: str) -> None:
    """gateway checklist 8, 9: nothing waits for more to come, and nothing is held back for a time."""
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await caller.read_until(b"\r\n\r\n")
        for number in range(50):
            piece = event(chunk(f"piece-{number}"))
            await gate.send_events(piece)
            assert (await caller.read_until(piece + b"\r\n")).count(b"data:") == 1
        await gate.send_events(event(finish()), DONE)
        await gate.end()
        await caller.read_until(DONE + b"\r\n0\r\n\r\n")
        await caller.close()
    assert rig.rows[0].state == "ok"


async def test_chunks_that_come_together_leave_together(gate: Gate, server: str) -> None:
    """gateway checklist 9: chunks are not split by time either."""
    pieces = [event(chunk(str(number))) for number in range(3)]
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(*pieces)
        got = await caller.read_until(b"".join(pieces))
        assert got.endswith(b"%x\r\n%b" % (len(b"".join(pieces)), b"".join(pieces)))
        await caller.leave()
        await rig.wait_for_rows(1)


@pytest.mark.parametrize("dribble", [1, 2, 3, 7])
@pytest.mark.parametrize("wants_usage", [True, False])
async def test_text_survives_an_upstream_that_writes_byte_by_byte(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, dribble: int, wants_usage: bool
) -> None:
    """gateway checklist 16: UTF-8 that is split across reads, and characters that are line ends to Python alone."""
    upstream.set_default(Behavior(text=UNICODE, dribble=dribble))
    text = await stream(http, stream_options={"include_usage": wants_usage})
    assert text_of(payloads(text)) == UNICODE
    assert text.count("[DONE]") == 1


@pytest.mark.parametrize("dribble", [None, 1, 5])
@pytest.mark.parametrize(
    "features",
    [
        {"no_space"},
        {"crlf"},
        {"cr"},
        {"comments"},
        {"bom"},
        {"event_fields"},
        {"multiline"},
        {"crlf", "comments", "bom", "event_fields", "multiline", "no_space"},
        {"cr", "comments", "bom", "event_fields", "multiline"},
    ],
    ids=lambda features: "+".join(sorted(features)),
)
async def test_every_legal_spelling_of_an_event_stream_passes(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, features: set[str], dribble: int | None
) -> None:
    """gateway checklist 17."""
    upstream.set_default(Behavior(text=UNICODE, sse=frozenset(features), dribble=dribble))  # type: ignore[arg-type]
    answer = await http.post("/chat/completions", json=chat(stream=True))
    events = list(decoded(answer.content))
    assert text_of([json.loads(one) for one in events[:-1]]) == UNICODE
    assert events[-1] == "[DONE]"
    assert "usage" not in answer.text
    assert rig.rows[0].state == "ok"
    assert not rig.rows[0].estimated


def decoded(stream: bytes) -> list[str]:
    """The data of each event, as the specification of event streams says."""
    lines = stream.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events: list[str] = []
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            events.append("\n".join(data))
            data = []
    return events


async def test_one_event_of_a_mebibyte_passes(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 18."""
    upstream.set_default(Behavior(text="end", huge_event=1024 * 1024))
    assert text_of(payloads(await stream(http))) == "x" * 1024 * 1024 + "end"


@pytest.mark.parametrize("omit_done", [True, False])
@pytest.mark.parametrize("tools", [(), (ScriptedToolCall("f", {"a": 1}),)], ids=["text", "tools"])
async def test_a_stream_ends_with_done_exactly_once(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, omit_done: bool, tools: tuple[ScriptedToolCall, ...]
) -> None:
    """gateway checklist 13: also where the upstream leaves it out, and after tool calls."""
    upstream.set_default(Behavior(text="a b", tool_calls=tools, omit_done=omit_done))
    text = await stream(http)
    assert text.endswith("\n\ndata: [DONE]\n\n")
    assert text.count("[DONE]") == 1
    assert rig.rows[0].state == "ok"


async def test_nothing_follows_done(gate: Gate, server: str) -> None:
    """gateway checklist 13: whatever the upstream sends after it, and however it ends the connection."""
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(event(chunk("a")), event(finish()), DONE, event(chunk("late")), DONE)
        gate.close()
        got = await caller.read_until(b"0\r\n\r\n")
        assert got.endswith(DONE + b"\r\n0\r\n\r\n")
        assert got.count(b"[DONE]") == 1
        assert b"late" not in got
        await caller.close()
    assert [row.state for row in rig.rows] == ["ok"]


async def test_a_caller_that_leaves_at_done_has_had_its_whole_answer(gate: Gate, server: str) -> None:
    """gateway checklist 3, 13: such a call is not cancelled, it is paid in full."""
    async with running(snapshot_of(route_to(gate.target)), server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(event(chunk("a")), event(finish()), DONE)
        await caller.read_until(DONE)
        await caller.leave()
        (row,) = await rig.wait_for_rows(1)
    assert (row.state, row.status) == ("ok", 200)


async def test_an_answer_that_came_whole_is_streamed_to_a_caller_who_asked_for_a_stream(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 10, 13, 22: a server that cannot stream looks like one that can."""
    calls = [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = {
        "id": "c-9",
        "object": "chat.completion",
        "created": 7,
        "model": MODEL,
        "extra": 1,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi", "odd": 1}, "finish_reason": "length"},
            {"index": 1, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    upstream.set_default(lambda request: _json(answer))
    text = await stream(http, stream_options={"include_usage": True})
    events = payloads(text)
    assert {one["object"] for one in events} == {"chat.completion.chunk"}
    assert {one["extra"] for one in events} == {1}
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hi", "odd": 1}
    assert events[2]["choices"][0]["delta"]["tool_calls"] == [{"index": 0} | calls[0]]
    assert [one["choices"][0]["finish_reason"] for one in events[:4]] == [None, "length", None, "tool_calls"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == answer["usage"]
    assert text.endswith("data: [DONE]\n\n")
    assert rig.rows[0].completion_tokens == 2


def _json(answer: object) -> Response:
    return Response(body=json.dumps(answer).encode(), headers={"content-type": "application/json"})


async def test_comments_keep_a_silent_stream_open(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 6: before the first chunk and between chunks; readers skip them."""
    snapshot = snapshot_of(route_to(upstream), keepalive_seconds=0.2)
    upstream.set_default(Behavior(tokens=("a", "b"), latency=0.5, silent=0.5, silent_after_chunks=1))
    async with running(snapshot, server=server) as rig, caller_of(rig) as http:
        text = await stream(http)
    first = text.index("data:")
    assert text[:first].count(": keepalive\n\n") >= 1
    assert text[first:].count(": keepalive\n\n") >= 1
    assert text_of(payloads(text)) == "ab"
    assert rig.rows[0].state == "ok"


async def test_a_comment_never_falls_into_an_event(gate: Gate, server: str) -> None:
    """gateway checklist 6: while half an event has come, the comment stands before it."""
    piece = event(chunk("halved"))
    snapshot = snapshot_of(route_to(gate.target), keepalive_seconds=0.2)
    async with running(snapshot, server=server) as rig:
        caller = await RawCaller.post(rig, stream=True)
        await gate.send(STREAM_HEAD)
        await gate.send_events(piece[:20])
        await caller.read_until(b": keepalive\n\n")
        await gate.send_events(piece[20:])
        await caller.read_until(piece + b"\r\n")
        await caller.leave()
        await rig.wait_for_rows(1)


async def test_a_call_that_waits_for_a_comment_still_reports_its_error(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 6, 14: the status line is gone, so the error is an event."""
    snapshot = snapshot_of(route_to(upstream), keepalive_seconds=0.2)
    upstream.set_default(Behavior(latency=0.5, status=400, error="Too long."))
    async with running(snapshot, server=server) as rig, caller_of(rig) as http:
        text = await stream(http)
    assert payloads(text)[-1]["error"]["message"] == "Too long."
    assert "[DONE]" not in text
    assert (rig.rows[0].state, rig.rows[0].status) == ("error", 400)


async def test_an_answer_that_is_no_completion_is_an_error_event_after_a_comment(
    upstream: FakeUpstream, server: str
) -> None:
    """gateway checklist 6, 14."""
    snapshot = snapshot_of(route_to(upstream), keepalive_seconds=0.2)
    upstream.set_default(Behavior(latency=0.5, body=b'{"hello": 1}'))
    async with running(snapshot, server=server) as rig, caller_of(rig) as http:
        text = await stream(http)
    assert payloads(text)[-1]["error"]["code"] == "upstream_protocol"
    assert "[DONE]" not in text
    assert rig.rows[0].state == "error"


async def test_several_choices_keep_their_index_and_share_one_usage(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 20."""
    upstream.set_default(Behavior(tokens=("a", "b", "c")))
    events = payloads(await stream(http, n=3, stream_options={"include_usage": True}))
    assert [text_of(events, index) for index in range(3)] == ["abc"] * 3
    assert [bool(one.get("usage")) for one in events].count(True) == 1
    assert events[-1]["usage"]["completion_tokens"] == 9
    assert rig.rows[0].completion_tokens == 9


async def test_parallel_tool_calls_arrive_as_the_deltas_that_were_sent(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 21: id and name once, the arguments by index, the calls interleaved."""
    wanted = [("a", {"city": "Bern 😀"}), ("b", {"x": [1, 2]}), ("c", {})]
    upstream.set_default(Behavior(tool_calls=tuple(ScriptedToolCall(*one) for one in wanted)))
    deltas = [
        delta
        for one in payloads(await stream(http))
        for choice in one["choices"]
        for delta in choice["delta"].get("tool_calls", ())
    ]
    for index, (name, arguments) in enumerate(wanted):
        own = [delta for delta in deltas if delta["index"] == index]
        assert [delta["function"].get("name") for delta in own] == [name] + [None] * (len(own) - 1)
        assert ["id" in delta for delta in own] == [True] + [False] * (len(own) - 1)
        assert json.loads("".join(delta["function"]["arguments"] for delta in own)) == arguments
    later = [delta["index"] for delta in deltas[3:]]
    assert later != sorted(later)


@pytest.mark.parametrize("logprobs", [{"logprobs": True, "top_logprobs": 2}, {}], ids=["asked", "unasked"])
async def test_logprobs_are_kept_in_streams_and_whole_answers(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, logprobs: dict[str, object]
) -> None:
    """gateway checklist 22: where there are none, they are null."""
    upstream.set_default(Behavior(tokens=("a", "b")))
    streamed = [one["choices"][0]["logprobs"] for one in payloads(await stream(http, **logprobs))]
    whole = (await http.post("/chat/completions", json=chat(**logprobs))).json()["choices"][0]["logprobs"]
    if logprobs:
        assert [len(one["content"][0]["top_logprobs"]) for one in streamed if one] == [2, 2]
        assert [one["token"] for one in whole["content"]] == ["a", "b"]
    else:
        assert streamed
        assert not any(streamed)
        assert whole is None


async def test_unknown_fields_of_answers_pass(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 23."""
    more = {"annotations": [{"type": "x", "n": None}], "refusal": None}
    extra = {"x_provider": {"queue": 0.5, "flag": False}}
    upstream.set_default(Behavior(text="a", reasoning="hm", message_extra=more, extra=extra))
    events = payloads(await stream(http))
    assert all(one["x_provider"] == extra["x_provider"] for one in events)
    deltas = [one["choices"][0]["delta"] for one in events]
    assert {"reasoning_content": "hm"} in deltas
    assert {"content": "a"} | more in deltas
    whole = (await http.post("/chat/completions", json=chat())).json()
    assert whole["choices"][0]["message"]["reasoning_content"] == "hm"
    assert whole["x_provider"] == extra["x_provider"]


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter", "odd_one"])
async def test_the_finish_reason_is_that_of_the_upstream(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, reason: str
) -> None:
    """gateway checklist 24."""
    upstream.set_default(Behavior(text="a", finish_reason=reason))
    assert payloads(await stream(http))[-1]["choices"][0]["finish_reason"] == reason
    whole = await http.post("/chat/completions", json=chat())
    assert whole.json()["choices"][0]["finish_reason"] == reason
    assert [row.state for row in rig.rows] == ["ok", "ok"]


async def test_a_stream_of_text_completions_passes(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 10, 13: the older route has the same rules."""
    upstream.set_default(Behavior(text="one two"))
    answer = await http.post("/completions", json={"model": MODEL, "prompt": "x", "stream": True})
    events = payloads(answer.text)
    assert "".join(one["choices"][0]["text"] for one in events) == "one two"
    assert answer.text.count("[DONE]") == 1
    assert "usage" not in answer.text
    assert rig.rows[0].completion_tokens == 2


async def test_a_stream_of_the_responses_route_passes_as_it_is(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 11, 13: it has no [DONE], and its usage belongs to its last event."""
    upstream.set_default(Behavior(text="one two"))
    answer = await http.post("/responses", json={"model": MODEL, "input": "x", "stream": True})
    events = payloads(answer.text)
    assert events[-1]["type"] == "response.completed"
    assert "[DONE]" not in answer.text
    (row,) = rig.rows
    assert (row.state, row.completion_tokens) == ("ok", events[-1]["response"]["usage"]["output_tokens"])


async def test_many_streams_at_once_do_not_mix(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 9, 16."""
    upstream.set_default(Behavior(chunk_interval=0.002))
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(stream(http, messages=[{"role": "user", "content": f"caller {number} says hello"}]))
            for number in range(40)
        ]
    for number, call in enumerate(calls):
        assert f"caller {number} says hello" in text_of(payloads(call.result()))
