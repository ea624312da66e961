"""What a well-behaved fake upstream answers, read by an unmodified OpenAI client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest

from byom.testing import Behavior, FakeUpstream, RecordedRequest, Response, ScriptedToolCall

HELLO = [{"role": "user", "content": "hello there"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(models=("a", "b")) as server:
        yield server


@pytest.fixture
async def client(upstream: FakeUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as made:
        yield made


async def test_a_chat_answer_echoes_the_user_and_counts_tokens(client):
    answer = await client.chat.completions.create(model="a", messages=HELLO)
    assert answer.choices[0].message.content == "echo: hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3)


async def test_n_choices_come_whole_and_as_interleaved_streams(client):
    answer = await client.chat.completions.create(model="a", messages=HELLO, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.completion_tokens == 9
    texts = {0: "", 1: "", 2: ""}
    async for chunk in await client.chat.completions.create(model="a", messages=HELLO, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert set(texts.values()) == {"echo: hello there"}


@pytest.mark.parametrize("include_usage", [True, False])
async def test_usage_in_streams_is_exactly_what_openai_does(client, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = await client.chat.completions.create(model="a", messages=HELLO, stream=True, **options)
    chunks = [chunk.model_dump(exclude_unset=True) async for chunk in stream]
    if include_usage:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["total_tokens"] == 5
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
    else:
        assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize(
    ("mode", "asked", "with_usage"),
    [
        ("final", True, [False, False, False, False, False, True]),
        ("unasked", False, [False, False, False, False, False, True]),
        ("continuous", True, [True] * 6),
        ("with_finish", False, [False, False, False, False, True]),
        ("none", True, [False] * 5),
    ],
)
async def test_other_ways_to_give_usage_in_streams(upstream, client, mode, asked, with_usage):
    upstream.set_default(Behavior(usage=mode))
    options = {"stream_options": {"include_usage": True}} if asked else {}
    stream = await client.chat.completions.create(model="a", messages=HELLO, stream=True, **options)
    chunks = [chunk.model_dump(exclude_unset=True) async for chunk in stream]
    assert [bool(chunk.get("usage")) for chunk in chunks] == with_usage


async def test_max_tokens_cuts_the_answer_with_reason_length(client):
    answer = await client.chat.completions.create(model="a", messages=HELLO, max_tokens=2)
    assert answer.choices[0].message.content == "echo: hello"
    assert answer.choices[0].finish_reason == "length"


async def test_logprobs_come_when_asked_for_and_are_null_otherwise(client):
    asked = await client.chat.completions.create(model="a", messages=HELLO, logprobs=True, top_logprobs=2)
    entries = asked.choices[0].logprobs.content
    assert [len(entry.top_logprobs) for entry in entries] == [2, 2, 2]
    plain = await client.chat.completions.create(model="a", messages=HELLO)
    assert plain.choices[0].logprobs is None


async def test_parallel_tool_calls_are_interleaved_and_named_once(upstream, client):
    calls = (ScriptedToolCall("weather", {"city": "Köln"}, id="one"), ScriptedToolCall("weather", {"city": "東京"}))
    upstream.set_default(Behavior(tool_calls=calls))
    stream = await client.chat.completions.create(model="a", messages=HELLO, tools=[TOOL], stream=True)
    names: list[tuple[int, str]] = []
    arguments = {0: "", 1: ""}
    order: list[int] = []
    async for chunk in stream:
        for delta in chunk.choices[0].delta.tool_calls or ():
            if delta.function.name:
                names.append((delta.index, delta.id))
            arguments[delta.index] += delta.function.arguments or ""
            order.append(delta.index)
        reason = chunk.choices[0].finish_reason
    assert reason == "tool_calls"
    assert names[0] == (0, "one")
    assert len(names) == 2
    assert [json.loads(text)["city"] for text in arguments.values()] == ["Köln", "東京"]
    assert order != sorted(order)


async def test_a_required_tool_call_fits_the_schema_of_its_tool(client):
    answer = await client.chat.completions.create(model="a", messages=HELLO, tools=[TOOL], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


async def test_a_json_schema_is_satisfied(client):
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = await client.chat.completions.create(model="a", messages=HELLO, response_format=form)
    assert json.loads(answer.choices[0].message.content)["n"] >= 3


async def test_completions_are_served_whole_and_streamed(client):
    whole = await client.completions.create(model="a", prompt="one two")
    assert whole.choices[0].text == "echo: one two"
    stream = await client.completions.create(model="a", prompt="one two", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_embeddings_are_equal_as_floats_and_as_base64(client):
    floats = await client.embeddings.create(model="a", input=["x", "y"], encoding_format="float", dimensions=5)
    packed = await client.embeddings.create(model="a", input=["x", "y"], dimensions=5)
    assert [len(item.embedding) for item in floats.data] == [5, 5]
    assert packed.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)
    assert floats.data[0].embedding != floats.data[1].embedding


async def test_responses_are_served_whole_and_streamed_with_usage(client):
    whole = await client.responses.create(model="a", input="hello there")
    assert whole.output_text == "echo: hello there"
    assert whole.usage.total_tokens == 5
    events = [event async for event in await client.responses.create(model="a", input="hi", stream=True)]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens == 2
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_models_are_listed_and_shown(client):
    assert [model.id async for model in client.models.list()] == ["a", "b"]
    assert (await client.models.retrieve("b")).id == "b"


async def test_an_upload_of_audio_arrives_whole(client):
    result = await client.audio.transcriptions.create(model="a", file=("a.wav", b"\x00\r\n--x" * 1000))
    assert result.text == "audio of 6000 bytes"


async def test_rerank_orders_by_shared_words(upstream):
    async with httpx2.AsyncClient() as http:
        fields = {"model": "a", "query": "red fox", "documents": ["a dog", "the red fox", "red"], "top_n": 2}
        answer = await http.post(f"{upstream.base_url}/rerank", json=fields)
    assert [item["index"] for item in answer.json()["results"]] == [1, 2]


async def test_any_other_route_echoes_what_it_got(upstream):
    async with httpx2.AsyncClient() as http:
        answer = await http.put(f"{upstream.base_url}/some/route?x=1", content=b"abc")
    assert answer.json()["path"] == "/v1/some/route"
    assert answer.json()["body_bytes"] == 3


async def test_unknown_fields_are_sent_in_both_modes(upstream, client):
    upstream.set_default(Behavior(reasoning="hm", extra={"vendor": 1}, message_extra={"annotations": []}))
    whole = await client.chat.completions.create(model="a", messages=HELLO)
    assert whole.choices[0].message.reasoning_content == "hm"
    assert whole.vendor == 1
    chunks = [chunk async for chunk in await client.chat.completions.create(model="a", messages=HELLO, stream=True)]
    assert chunks[1].choices[0].delta.reasoning_content == "hm"
    assert all(chunk.vendor == 1 for chunk in chunks)


async def test_the_key_is_required_where_one_is_set():
    async with FakeUpstream(api_key="right") as upstream:
        async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="wrong", max_retries=0) as wrong:
            with pytest.raises(openai.AuthenticationError):
                await wrong.models.list()
        async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="right", max_retries=0) as right:
            await right.models.list()


async def test_a_path_prefix_is_a_part_of_the_base_url():
    async with FakeUpstream(prefix="/deep/prefix/v1") as upstream:
        assert upstream.base_url.endswith("/deep/prefix/v1")
        async with httpx2.AsyncClient() as http:
            assert (await http.get(f"{upstream.base_url}/models")).status_code == 200
            assert (await http.get(f"{upstream.url}/v1/models")).status_code == 404


async def test_unknown_models_are_refused_when_strict():
    async with (
        FakeUpstream(models=("a",), strict_models=True) as upstream,
        openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as client,
    ):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="z", messages=HELLO)


async def test_the_queue_comes_before_path_model_and_default(upstream, client):
    upstream.set_default(Behavior(text="default"))
    upstream.set_model("b", Behavior(text="model"))
    upstream.set_path("/completions", Behavior(text="path"))
    upstream.enqueue(Behavior(text="first"), Behavior(text="second"))

    async def said(model: str) -> str:
        return (await client.chat.completions.create(model=model, messages=HELLO)).choices[0].message.content

    await client.models.list()
    assert [await said("b"), await said("a"), await said("b"), await said("a")] == [
        "first",
        "second",
        "model",
        "default",
    ]
    assert (await client.completions.create(model="b", prompt="x")).choices[0].text == "path"
    assert upstream.queued == 0


async def test_a_handler_decides_with_the_request_in_hand(upstream, client):
    async def handler(request: RecordedRequest) -> Behavior | Response:
        if request.model == "raw":
            return Response(418, b'{"error": {"message": "teapot"}}', {"x-kind": "pot"})
        return Behavior(text=f"handled {request.number}")

    upstream.set_default(handler)
    answer = await client.chat.completions.create(model="a", messages=HELLO)
    assert answer.choices[0].message.content == "handled 1"
    with pytest.raises(openai.APIStatusError, match="teapot") as refused:
        await client.chat.completions.create(model="raw", messages=HELLO)
    assert refused.value.response.headers["x-kind"] == "pot"


async def test_requests_are_recorded_as_they_came(upstream, client):
    await client.chat.completions.create(model="a", messages=HELLO, temperature=0, extra_headers={"X-Mine": "1"})
    await client.chat.completions.create(model="a", messages=HELLO)
    first, second = upstream.requests
    assert (first.method, first.path, first.status) == ("POST", "/v1/chat/completions", 200)
    assert first.header("x-mine") == "1"
    assert first.json()["temperature"] == 0
    assert first.completed
    assert first.ended_at >= first.received_at
    assert first.connection_id == second.connection_id
    assert upstream.connections_accepted == 1
    assert upstream.open_requests == 0
