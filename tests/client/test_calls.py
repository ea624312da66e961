"""Calls to models through a running hub, blocking and not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from byom.client import Answer, AsyncClient, Client
from byom.errors import (
    BadRequest,
    ByomError,
    LimitExceeded,
    ModelNotFound,
    PermissionDenied,
    Unauthenticated,
    UpstreamAuth,
    UpstreamError,
)
from byom.testing import Behavior, FakeUpstream, ScriptedToolCall
from tests.client.hubs import RunningHub


def test_a_chat_answer_is_text_and_tells_its_usage_and_its_end(
    client: Client, upstream: FakeUpstream, model: str
) -> None:
    upstream.set_default(Behavior(text="Hello there", prompt_tokens=7))
    answer = client.chat(model, "Hi", system="Be brief.", temperature=0, max_tokens=50)
    assert str(answer) == answer.text == "Hello there"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 2)
    assert answer.finish_reason == "stop"
    assert answer.tool_calls == []
    assert answer.request_id.startswith("req_")
    assert answer.raw["object"] == "chat.completion"
    sent = upstream.requests[-1].json()
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert sent["temperature"] == 0
    assert sent["max_tokens"] == 50


def test_messages_and_unknown_parameters_pass_as_they_are(client: Client, upstream: FakeUpstream, model: str) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    client.chat(model, [{"role": "user", "content": parts}], chat_template_kwargs={"thinking": False}, seed=None)
    sent = upstream.requests[-1].json()
    assert sent["messages"] == [{"role": "user", "content": parts}]
    assert sent["chat_template_kwargs"] == {"thinking": False}
    assert "seed" not in sent


def test_several_choices_and_tool_calls_are_whole(client: Client, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(tool_calls=(ScriptedToolCall("weather", {"city": "Oslo"}),)))
    answer = client.chat(model, "Weather?", n=2)
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls[0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert len(answer.choices) == 2


def test_a_streamed_answer_comes_in_pieces_and_can_be_put_together(
    client: Client, upstream: FakeUpstream, model: str
) -> None:
    upstream.set_default(Behavior(tokens=("one", " two", " three")))
    with client.chat(model, "Count", stream=True) as stream:
        pieces = list(stream)
        answer = stream.answer()
    assert [str(piece) for piece in pieces if piece.text] == ["one", " two", " three"]
    assert (answer.text, answer.finish_reason) == ("one two three", "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.request_id == stream.request_id != ""


def test_streamed_tool_calls_are_joined(client: Client, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(tool_calls=(ScriptedToolCall("one", {"a": 1}), ScriptedToolCall("two", {"b": 2}))))
    calls = client.chat(model, "Go", stream=True).answer().tool_calls
    assert [call["function"]["name"] for call in calls] == ["one", "two"]
    assert calls[1]["function"]["arguments"] == '{"b": 2}'


def test_closing_a_stream_stops_the_upstream_call(client: Client, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(chunks=10_000, chunk_interval=0.02))
    stream = client.chat(model, "Go on", stream=True)
    next(stream)
    stream.close()
    assert upstream.wait_for_disconnect_sync(5.0).chunks_sent < 1000
    assert list(stream) == []
    stream.close()


def test_letting_go_of_a_stream_stops_the_upstream_call(client: Client, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(chunks=10_000, chunk_interval=0.02))
    for piece in client.chat(model, "Go on", stream=True):
        if piece.text:
            break
    assert upstream.wait_for_disconnect_sync(5.0).chunks_sent < 1000


async def test_letting_go_of_an_asynchronous_stream_stops_the_upstream_call(
    running_hub: RunningHub, upstream: FakeUpstream, model: str
) -> None:
    upstream.set_default(Behavior(chunks=10_000, chunk_interval=0.02))
    async with AsyncClient(running_hub.url, running_hub.key) as client:
        async for piece in await client.chat(model, "Go on", stream=True):
            if piece.text:
                break
        assert (await upstream.wait_for_disconnect(5.0)).chunks_sent < 1000


async def test_the_asynchronous_client_does_the_same(
    running_hub: RunningHub, upstream: FakeUpstream, model: str
) -> None:
    upstream.set_default(Behavior(tokens=("one", " two")))
    async with AsyncClient(running_hub.url, running_hub.key) as client:
        assert str(await client.chat(model, "Hi")) == "one two"
        async with await client.chat(model, "Hi", stream=True) as stream:
            assert "".join([piece.text async for piece in stream]) == "one two"
        assert len(await client.embed(model, ["a", "b"])) == 2
        assert model in await client.model_names()
        with pytest.raises(ModelNotFound):
            await client.chat("no-such-model", "Hi", stream=True)


def test_a_stream_that_breaks_off_raises_where_the_next_piece_was_due(
    client: Client, upstream: FakeUpstream, model: str
) -> None:
    upstream.set_default(Behavior(chunks=20, cut_after_chunks=3))
    seen = []
    with pytest.raises(UpstreamError), client.chat(model, "Go", stream=True) as stream:
        seen += [piece.text for piece in stream if piece.text]
    upstream.set_default(Behavior(chunks=20, error_after_chunks=3))
    with pytest.raises(UpstreamError, match=r"engine stopped"):
        client.chat(model, "Go", stream=True).answer()


def test_text_completions_work_whole_and_streamed(client: Client, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(text="and so on", chunks=3))
    assert client.complete(model, "Once").text == "and so on"
    assert client.complete(model, "Once", stream=True).answer().text == "and so on"


def test_embeddings_are_vectors_in_the_order_of_the_texts(client: Client) -> None:
    vectors = client.embed("lexical", ["ice on the bridge", "bread", "ice on the bridge"])
    assert len(vectors) == len(vectors.vectors) == 3
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [len(vectors[0])] * 3
    assert vectors.usage is not None
    assert vectors.usage.prompt_tokens > 0
    assert len(client.embed("lexical", "one text")) == 1


def test_reranking_puts_the_most_relevant_document_first(client: Client) -> None:
    ranking = client.rerank("lexical", "ice on the bridge", ["bread", "the bridge had ice"])
    assert [one.document for one in ranking] == ["the bridge had ice", "bread"]
    assert [one.index for one in ranking] == [1, 0]


def test_any_route_of_the_hub_can_be_called_with_plain_objects(client: Client, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    assert client.request("POST", "/v1/chat/completions", body)["choices"]
    assert client.request("GET", "/api/calls", limit=1)["data"]


def test_errors_are_those_of_byom_with_the_hubs_own_words(client: Client, running_hub: RunningHub, model: str) -> None:
    with pytest.raises(ModelNotFound, match=r"no-such-model"):
        client.chat("no-such-model", "Hi")
    with (
        Client(running_hub.url, "sk-byom-aaaaaaaaaaaa-" + "x" * 32) as stranger,
        pytest.raises(Unauthenticated) as wrong,
    ):
        stranger.chat(model, "Hi")
    assert "xxxx" not in str(wrong.value)
    with pytest.raises(BadRequest):
        client.chat(model, [1, 2])  # type: ignore[list-item]
    with pytest.raises(BadRequest, match="JSON"):
        client.chat(model, "Hi", metadata=object())
    with pytest.raises(ByomError) as conflict:
        client.connections.create("builtin", url="http://127.0.0.1:9")
    assert conflict.value.status in (409, 422)


def test_an_upstreams_rejection_of_the_stored_key_is_an_upstream_error(
    client: Client, upstream: FakeUpstream, model: str
) -> None:
    upstream.api_key = "another"
    with pytest.raises(UpstreamAuth, match="byom connect"):
        client.chat(model, "Hi")


def test_a_limit_says_when_to_try_again(
    client: Client, running_hub: RunningHub, model: str, unused_name: Callable[[str], str]
) -> None:
    made = client.keys.create(unused_name("key"), models=[model], limits={"requests_per_minute": 1})
    with Client(running_hub.url, made["token"]) as guest:
        assert guest.chat(model, "one").text
        with pytest.raises(LimitExceeded) as refused:
            guest.chat(model, "two")
        assert refused.value.retry_after is not None
        assert 0 < refused.value.retry_after <= 60
        assert guest.model_names() == [model]
        with pytest.raises(PermissionDenied):
            guest.connections.list()


def test_one_client_serves_many_threads(client: Client, upstream: FakeUpstream, model: str) -> None:
    upstream.set_default(Behavior(latency=0.05))

    def ask(number: int) -> Answer:
        return client.chat(model, f"number {number}")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert [answer.text.rsplit(" ", 1)[1] for answer in answers] == [str(number) for number in range(64)]
