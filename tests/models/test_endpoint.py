from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from byom.errors import (
    BadRequest,
    BudgetExceeded,
    ByomError,
    DestinationDenied,
    LimitExceeded,
    ModelNotFound,
    PayloadTooLarge,
    UnprocessableRequest,
    UpstreamAuth,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from byom.models.collect import collect
from byom.models.endpoint import EndpointChatModel, EndpointEmbeddingModel
from byom.models.wire import usage_of
from byom.testing import Behavior, FakeUpstream, ScriptedToolCall
from byom.types.chat import ChatRequest
from byom.types.model_info import ModelInfo
from byom.types.target import NetworkPolicy, Target, Timeouts
from tests.upstream.small_server import Got, Reply, small_server, sse

INFO = ModelInfo(name="m")
HELLO = ChatRequest(messages=[{"role": "user", "content": "hello"}])


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as server:
        yield server


def target(port: int, **fields: Any) -> Target:
    return Target(scheme="http", host="127.0.0.1", port=port, base_path="/v1", **fields)


def chat_model(port: int, **options: Any) -> EndpointChatModel:
    return EndpointChatModel(target(port), INFO, **options)


async def test_falsy_parameters_are_sent_and_absent_ones_are_not(upstream: FakeUpstream) -> None:
    """Gateway checklist 25."""
    request = ChatRequest(
        messages=[{"role": "user", "content": ""}],
        temperature=0,
        top_p=0.0,
        seed=0,
        stop=[],
        extra={"top_k": 0, "x": None},
    )
    model = chat_model(upstream.port, upstream_model="real-name")
    await collect(model.chat(request))
    await model.aclose()
    sent = json.loads(upstream.requests[0].body)
    assert sent == {
        "model": "real-name",
        "messages": [{"role": "user", "content": ""}],
        "temperature": 0,
        "top_p": 0.0,
        "seed": 0,
        "stop": [],
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_k": 0,
        "x": None,
    }


async def test_max_tokens_goes_by_the_name_the_model_takes(upstream: FakeUpstream) -> None:
    """Gateway checklist 26."""
    model = chat_model(upstream.port, max_tokens_field="max_completion_tokens")
    await collect(model.chat(ChatRequest(messages=HELLO.messages, max_tokens=5)))
    await model.aclose()
    sent = json.loads(upstream.requests[0].body)
    assert sent["max_completion_tokens"] == 5
    assert "max_tokens" not in sent


async def answer(behavior: Behavior, request: ChatRequest = HELLO, **options: Any) -> Any:
    async with FakeUpstream(behavior) as server:
        model = chat_model(server.port, **options)
        try:
            return await collect(model.chat(request))
        finally:
            await model.aclose()


@pytest.mark.parametrize(
    "behavior",
    [
        Behavior(text="naïve \U0001f600 文字\u2028end", dribble=1),
        Behavior(text="naïve \U0001f600 文字\u2028end", sse=("crlf", "comments", "bom")),
        Behavior(text="naïve \U0001f600 文字\u2028end", sse=("no_space", "event_fields")),
        Behavior(text="naïve \U0001f600 文字\u2028end", sse=("cr",)),
        Behavior(text="naïve \U0001f600 文字\u2028end", omit_done=True),
        Behavior(text="naïve \U0001f600 文字\u2028end", gzip=True),
    ],
)
async def test_text_survives_every_way_of_sending_it(behavior: Behavior) -> None:
    assert (await answer(behavior)).text == "naïve \U0001f600 文字\u2028end"


async def test_parallel_tool_calls_are_joined_by_their_index() -> None:
    """Gateway checklist 21."""
    calls = (
        ScriptedToolCall("weather", {"city": "Paris", "days": 3}),
        ScriptedToolCall("time", {"zone": "Europe/Paris"}),
    )
    result = await answer(Behavior(tool_calls=calls))
    assert [call["function"]["name"] for call in result.tool_calls] == ["weather", "time"]
    assert json.loads(result.tool_calls[0]["function"]["arguments"]) == {"city": "Paris", "days": 3}
    assert json.loads(result.tool_calls[1]["function"]["arguments"]) == {"zone": "Europe/Paris"}
    assert all(call["id"] and call["type"] == "function" for call in result.tool_calls)
    assert result.finish_reason == "tool_calls"


async def test_several_answers_keep_their_index_and_usage_comes_once() -> None:
    """Gateway checklist 20."""
    async with FakeUpstream(Behavior(text="one two three")) as server:
        model = chat_model(server.port)
        events = [event async for event in model.chat(ChatRequest(messages=HELLO.messages, n=3))]
        await model.aclose()
    texts = {index: "".join(event.text for event in events if event.index == index) for index in range(3)}
    assert set(texts.values()) == {"one two three"}
    assert sum(event.usage is not None for event in events) == 1
    assert events[-1].usage is not None


@pytest.mark.parametrize("usage", ["every_chunk_null", "final", "with_finish", "continuous", "unasked"])
async def test_usage_is_read_wherever_the_server_puts_it(usage: Any) -> None:
    result = await answer(Behavior(text="a b c", usage=usage, prompt_tokens=11, completion_tokens=7, cached_tokens=4))
    assert (result.usage.prompt_tokens, result.usage.completion_tokens, result.usage.cached_tokens) == (11, 7, 4)
    assert not result.usage.estimated


def test_a_server_that_marks_its_counts_as_estimated_is_believed() -> None:
    counts = {"prompt_tokens": 3, "completion_tokens": 4}
    assert not usage_of(counts).estimated
    assert usage_of(counts | {"estimated": True}).estimated


async def test_missing_usage_is_estimated_and_marked() -> None:
    """Gateway checklist 12."""
    result = await answer(Behavior(text="a b c d e f", usage="none"))
    assert result.usage.estimated
    assert 4 <= result.usage.completion_tokens <= 8


async def test_reasoning_and_unknown_fields_are_kept() -> None:
    """Gateway checklist 23."""
    async with FakeUpstream(Behavior(text="x", reasoning="because", extra={"provider": {"a": 1}})) as server:
        model = chat_model(server.port)
        events = [event async for event in model.chat(HELLO)]
        await model.aclose()
    assert "".join(event.reasoning for event in events) == "because"
    assert all((event.raw or {}).get("provider") == {"a": 1} for event in events)


async def test_the_finish_reason_is_the_servers() -> None:
    """Gateway checklist 24."""
    assert (await answer(Behavior(text="x", finish_reason="content_filter"))).finish_reason == "content_filter"


async def test_logprobs_are_kept() -> None:
    chunk = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": -0.1}]}}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    reply = Reply(200, sse({"choices": [chunk]}, {"choices": [last]}))
    async with small_server({"/v1/chat/completions": reply}) as server:
        model = chat_model(server.port)
        result = await collect(model.chat(HELLO))
        await model.aclose()
    assert result.choices[0].logprobs == [{"token": "a", "logprob": -0.1}]


async def test_a_server_that_does_not_stream_is_understood() -> None:
    whole = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "all at once"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 55, "total_tokens": 85},
    }
    async with small_server({"/v1/chat/completions": Reply(body=whole)}) as server:
        model = chat_model(server.port)
        result = await collect(model.chat(HELLO))
        await model.aclose()
    assert (result.text, result.finish_reason) == ("all at once", "stop")
    assert result.usage is not None
    assert result.usage.total_tokens == 85


async def test_a_server_that_refuses_stream_options_is_asked_without_them_from_then_on() -> None:
    def reply(got: Got) -> Reply:
        if "stream_options" in got.json:
            return Reply(400, {"error": {"message": "Unknown field: stream_options"}})
        return Reply(200, sse({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}))

    async with small_server({"/v1/chat/completions": reply}) as server:
        model = chat_model(server.port)
        assert (await collect(model.chat(HELLO))).text == "ok"
        assert (await collect(model.chat(HELLO))).text == "ok"
        await model.aclose()
    assert len(server.got) == 3


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad"}, BadRequest),
        (401, {"message": "bad key"}, UpstreamAuth),
        (403, {"message": "no"}, UpstreamAuth),
        (402, {"message": "pay"}, BudgetExceeded),
        (404, {"message": "no model x", "code": "model_not_found"}, ModelNotFound),
        (413, {"message": "big"}, PayloadTooLarge),
        (422, {"message": "odd"}, UnprocessableRequest),
        (429, {"message": "slow"}, LimitExceeded),
        (429, {"message": "broke", "code": "insufficient_quota"}, BudgetExceeded),
        (500, {"message": "oops"}, UpstreamError),
        (502, {"message": "oops"}, UpstreamError),
        (503, {"message": "rate limit"}, UpstreamOverloaded),
        (529, {"message": "busy"}, UpstreamOverloaded),
        (504, {"message": "late"}, UpstreamTimeout),
    ],
)
async def test_the_status_decides_the_error(status: int, error: dict[str, Any], kind: type[ByomError]) -> None:
    with pytest.raises(kind) as caught:
        await answer(Behavior(status=status, error=error, retry_after=7))
    assert type(caught.value) is kind
    assert error["message"] in str(caught.value)
    assert caught.value.retry_after == (7 if status == 429 or status >= 500 else None)


@pytest.mark.parametrize(
    ("behavior", "kind"),
    [
        (Behavior(drop="reset"), UpstreamUnreachable),
        (Behavior(drop="close"), UpstreamUnreachable),
        (Behavior(chunks=5, cut_after_chunks=2, cut="reset"), UpstreamUnreachable),
        (Behavior(chunks=5, cut_after_chunks=2, cut="close"), UpstreamUnreachable),
        (Behavior(chunks=5, cut_after_chunks=2, cut="end"), UpstreamProtocol),
        (Behavior(chunks=5, error_after_chunks=2), UpstreamError),
        (Behavior(malformed="not_json"), UpstreamProtocol),
        (Behavior(malformed="html"), UpstreamProtocol),
        (Behavior(malformed="empty"), UpstreamProtocol),
        (Behavior(malformed="truncated_json"), UpstreamProtocol),
        (Behavior(malformed="wrong_shape"), UpstreamProtocol),
    ],
)
async def test_a_broken_answer_is_an_error_and_never_a_short_answer(behavior: Behavior, kind: type[ByomError]) -> None:
    """Gateway checklist 14 and 15."""
    with pytest.raises(kind):
        await answer(behavior)


@pytest.mark.parametrize(
    ("behavior", "timeouts", "says"),
    [
        (Behavior(hang=True), Timeouts(first_byte=0.1), "did not begin to answer within 0.1 s"),
        (Behavior(chunks=5, hang_after_chunks=2), Timeouts(idle=0.1), "fell silent for 0.1 s"),
        (Behavior(chunks=100, chunk_interval=0.03), Timeouts(total=0.2), "was not done within 0.2 s"),
    ],
)
async def test_each_time_out_has_its_own_clock_and_words(behavior: Behavior, timeouts: Timeouts, says: str) -> None:
    """Gateway checklist 34."""
    with pytest.raises(UpstreamTimeout, match=says):
        await answer(behavior, timeouts=timeouts)


async def test_a_long_answer_outlives_the_idle_time_out_as_long_as_pieces_come() -> None:
    result = await answer(Behavior(chunks=10, chunk_interval=0.03), timeouts=Timeouts(idle=0.2, first_byte=0.5))
    assert result.finish_reason == "stop"


async def test_breaking_off_closes_the_upstream_call_at_once() -> None:
    """Gateway checklist 1."""
    async with FakeUpstream(Behavior(chunks=1000, chunk_interval=0.01)) as server:
        model = chat_model(server.port)
        events = model.chat(HELLO)
        await anext(events)
        await events.aclose()
        await server.wait_for_disconnect(timeout=1.0)
        await model.aclose()


async def test_cancelling_the_task_closes_the_upstream_call_at_once() -> None:
    async with FakeUpstream(Behavior(hang=True)) as server:
        model = chat_model(server.port)
        task = asyncio.create_task(collect(model.chat(HELLO)))
        await server.wait_for_requests(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.wait_for_disconnect(timeout=1.0)
        await model.aclose()


async def test_many_calls_share_one_connection(upstream: FakeUpstream) -> None:
    """Gateway checklist 37."""
    model = chat_model(upstream.port)
    for _ in range(30):
        await collect(model.chat(HELLO))
    await model.aclose()
    assert upstream.connections_accepted <= 2


async def test_the_key_is_sent_and_never_shown(upstream: FakeUpstream) -> None:
    def reply(got: Got) -> Reply:
        return Reply(400, {"error": {"message": f"you sent {got.headers['authorization']}"}})

    async with small_server({"/v1/chat/completions": reply}) as server:
        secret = target(server.port, authorization="Bearer canary-secret-value")
        model = EndpointChatModel(secret, INFO)
        with pytest.raises(BadRequest) as caught:
            await collect(model.chat(HELLO))
        await model.aclose()
    assert server.got[0].headers["authorization"] == "Bearer canary-secret-value"
    assert "canary" not in repr(caught.value) + str(caught.value.body()) + repr(secret)


async def test_the_policy_holds_for_the_library_too(upstream: FakeUpstream) -> None:
    model = chat_model(upstream.port, policy=NetworkPolicy(allow_loopback=False))
    with pytest.raises(DestinationDenied):
        await collect(model.chat(HELLO))
    await model.aclose()
    assert upstream.connections_accepted == 0


async def test_nothing_listening_is_said_plainly() -> None:
    async with FakeUpstream() as server:
        port = server.port
    model = chat_model(port)
    with pytest.raises(UpstreamUnreachable, match=f"Nothing listens on 127.0.0.1 port {port}"):
        await collect(model.chat(HELLO))
    await model.aclose()


async def test_what_is_not_json_in_the_request_is_a_bad_request(upstream: FakeUpstream) -> None:
    model = chat_model(upstream.port)
    with pytest.raises(BadRequest, match="JSON"):
        await collect(model.chat(ChatRequest(messages=[{"role": "user", "content": object()}])))
    await model.aclose()


async def test_embeddings_go_in_batches_and_come_back_in_order() -> None:
    def reply(got: Got) -> Reply:
        texts = got.json["input"]
        data = [{"index": at, "embedding": [float(text), 1.0]} for at, text in enumerate(texts)]
        return Reply(body={"data": data[::-1], "usage": {"prompt_tokens": len(texts)}, "model": "served"})

    async with small_server({"/v1/embeddings": reply}) as server:
        model = EndpointEmbeddingModel(target(server.port), INFO, batch=3, dimensions=2)
        result = await model.embed([str(number) for number in range(8)])
        await model.aclose()
    assert [vector[0] for vector in result.vectors] == [float(number) for number in range(8)]
    assert result.usage.prompt_tokens == 8
    assert result.model == "served"
    assert [len(got.json["input"]) for got in server.got] == [3, 3, 2]
    assert server.got[0].json["dimensions"] == 2


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": ["x"]}, {"index": 1, "embedding": [1.0]}],
        None,
    ],
)
async def test_embeddings_that_do_not_fit_the_texts_are_an_error(data: Any) -> None:
    async with small_server({"/v1/embeddings": Reply(body={"data": data})}) as server:
        model = EndpointEmbeddingModel(target(server.port), INFO)
        with pytest.raises(UpstreamProtocol):
            await model.embed(["a", "b"])
        await model.aclose()


async def test_base64_embeddings_are_read() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2.0)).decode()
    async with small_server({"/v1/embeddings": Reply(body={"data": [{"embedding": packed}]})}) as server:
        model = EndpointEmbeddingModel(target(server.port), INFO)
        assert (await model.embed(["a"])).vectors == [[0.5, -2.0]]
        await model.aclose()
