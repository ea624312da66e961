"""The unchanged openai package, asynchronous and synchronous, against the gateway on both servers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from byom.testing import Behavior, FakeUpstream, ScriptedToolCall
from tests.gateway.openai_client import AnyClient, chat
from tests.gateway.rig import MODEL, TOKEN, Rig
from tests.gateway.streams import BOTH_SERVERS, HELLO

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
    },
}


async def test_a_chat_is_answered(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 23."""
    upstream.set_default(Behavior(text="Hi there 😀"))
    answer = await chat(client, temperature=0, seed=0)
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == "Hi there 😀"
    assert answer.usage is not None
    assert answer._request_id


@pytest.mark.parametrize("usage", ["every_chunk_null", "final", "with_finish", "continuous", "unasked", "none"])
@pytest.mark.parametrize("asked", [True, False])
async def test_a_chat_is_streamed_with_usage_only_when_asked(
    upstream: FakeUpstream, client: AnyClient, usage: str, asked: bool
) -> None:
    """gateway checklist 10, 11."""
    upstream.set_default(Behavior(text="one two three", usage=usage))  # type: ignore[arg-type]
    options = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = await chat(client, stream=True, **options)
    assert "".join(choice.delta.content or "" for one in chunks for choice in one.choices) == "one two three"
    with_usage = [one for one in chunks if one.usage is not None]
    assert with_usage == (chunks[-1:] if asked else [])
    assert all(one.choices for one in chunks if one not in with_usage)


async def test_parallel_tool_calls_are_put_together_again(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 21."""
    wanted = [{"city": "Bern"}, {"city": "São Paulo 😀"}, {}]
    upstream.set_default(Behavior(tool_calls=tuple(ScriptedToolCall("weather", one) for one in wanted)))
    whole = await chat(client, tools=[WEATHER])
    assert [json.loads(call.function.arguments) for call in whole.choices[0].message.tool_calls] == wanted
    assert whole.choices[0].finish_reason == "tool_calls"
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    reasons = []
    for one in await chat(client, tools=[WEATHER], stream=True):
        reasons.append(one.choices[0].finish_reason)
        for call in one.choices[0].delta.tool_calls or ():
            texts[call.index] = texts.get(call.index, "") + (call.function.arguments or "")
            if call.id:
                assert call.index not in ids
                ids[call.index] = call.id
    assert [json.loads(texts[index]) for index in sorted(texts)] == wanted
    assert len(set(ids.values())) == 3
    assert reasons[-1] == "tool_calls"


async def test_an_answer_follows_a_json_schema(client: AnyClient) -> None:
    """gateway checklist 23."""
    answer = await chat(client, response_format=SCHEMA)
    assert set(json.loads(answer.choices[0].message.content)) == {"name", "age"}


async def test_several_choices_are_answered(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 20."""
    upstream.set_default(Behavior(text="a b"))
    answer = await chat(client, n=2)
    assert [choice.message.content for choice in answer.choices] == ["a b", "a b"]
    chunks = await chat(client, n=2, stream=True, stream_options={"include_usage": True})
    for index in range(2):
        own = [choice for one in chunks for choice in one.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in own) == "a b"
        assert own[-1].finish_reason == "stop"
    assert sum(one.usage is not None for one in chunks) == 1


async def test_logprobs_are_answered(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 22."""
    upstream.set_default(Behavior(text="a b"))
    answer = await chat(client, logprobs=True, top_logprobs=2)
    assert [len(token.top_logprobs) for token in answer.choices[0].logprobs.content] == [2, 2]
    assert (await chat(client)).choices[0].logprobs is None
    streamed = [one.choices[0].logprobs for one in await chat(client, logprobs=True, stream=True)]
    assert [found.content[0].token for found in streamed if found is not None] == ["a", " b"]


async def test_text_is_completed(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 10, 23."""
    upstream.set_default(Behavior(text="one two"))
    whole = await client.call("completions.create", model=MODEL, prompt="x")
    assert whole.choices[0].text == "one two"
    chunks = await client.call("completions.create", model=MODEL, prompt="x", stream=True)
    assert "".join(one.choices[0].text for one in chunks) == "one two"


@pytest.mark.parametrize("encoding", ["float", None])
async def test_texts_are_embedded(client: AnyClient, encoding: str | None) -> None:
    """gateway checklist 23: as numbers, and in the packed form that the package asks for by itself."""
    more = {} if encoding is None else {"encoding_format": encoding}
    made = await client.call("embeddings.create", model=MODEL, input=["a", "b", "a"], dimensions=16, **more)
    assert [len(one.embedding) for one in made.data] == [16, 16, 16]
    assert made.data[0].embedding == made.data[2].embedding


async def test_models_are_listed_and_found(client: AnyClient) -> None:
    """gateway checklist 89."""
    listed = await client.call("models.list")
    assert [model.id for model in listed.data] == [MODEL]
    assert (await client.call("models.retrieve", model=MODEL)).id == MODEL


async def test_the_responses_route_is_answered_and_streamed(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 13."""
    upstream.set_default(Behavior(text="one two"))
    answer = await client.call("responses.create", model=MODEL, input="x")
    assert answer.output_text == "one two"
    events = await client.call("responses.create", model=MODEL, input="x", stream=True)
    assert events[-1].type == "response.completed"


async def test_raw_responses_show_headers_and_bodies(rig: Rig, upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 27, 90: ``with_raw_response``, asynchronous and synchronous."""
    upstream.set_default(Behavior(text="one two"))
    async with openai.AsyncOpenAI(base_url=rig.url, api_key=TOKEN) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=HELLO,  # type: ignore[arg-type]
            extra_headers={"x-request-id": "mine-1"},
        )
        assert raw.headers["x-request-id"] == "mine-1"
        assert float(raw.headers["x-byom-overhead-ms"]) >= 0
        assert raw.parse().choices[0].message.content == "one two"

    def call() -> str | None:
        with openai.OpenAI(base_url=rig.url, api_key=TOKEN) as client:
            raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
            return raw.parse().choices[0].message.content

    assert await asyncio.to_thread(call) == "one two"


async def test_streaming_responses_are_read_line_by_line(rig: Rig, upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 13: ``with_streaming_response``, asynchronous and synchronous."""
    upstream.set_default(Behavior(text="one two"))
    fields: dict[str, Any] = {"model": MODEL, "messages": HELLO, "stream": True}
    async with (
        openai.AsyncOpenAI(base_url=rig.url, api_key=TOKEN) as client,
        client.chat.completions.with_streaming_response.create(**fields) as answer,
    ):
        lines = [line async for line in answer.iter_lines() if line]

    def call() -> list[str]:
        with (
            openai.OpenAI(base_url=rig.url, api_key=TOKEN) as client,
            client.chat.completions.with_streaming_response.create(**fields) as answer,
        ):
            return [line for line in answer.iter_lines() if line]

    for found in (lines, await asyncio.to_thread(call)):
        assert all(line.startswith("data: ") for line in found)
        assert found[-1] == "data: [DONE]"


async def test_the_helper_that_collects_a_stream_has_the_whole_answer(
    rig: Rig, upstream: FakeUpstream, sdk: openai.AsyncOpenAI
) -> None:
    """gateway checklist 20, 21: ``chat.completions.stream`` puts the chunks together."""
    upstream.set_default(Behavior(tool_calls=(ScriptedToolCall("weather", {"city": "Bern"}),)))
    fields: dict[str, Any] = {"model": MODEL, "messages": HELLO, "stream_options": {"include_usage": True}}
    async with sdk.chat.completions.stream(**fields) as collected:
        answer = await collected.get_final_completion()
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == {"city": "Bern"}  # type: ignore[union-attr]
    assert answer.usage is not None
