from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from byom.errors import DestinationDenied, UpstreamAuth, UpstreamError
from byom.testing import Behavior, FakeUpstream
from byom.types.target import NetworkPolicy, Target
from byom.upstream.probe import AbilityReport, Finding, plan, probe
from byom.upstream.probe_steps import red_square
from tests.upstream.small_server import Got, Reply, model_list, small_server, sse


def target(port: int, **fields: Any) -> Target:
    return Target(scheme="http", host="127.0.0.1", port=port, base_path="/v1", **fields)


def message(**fields: Any) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": ""} | fields, "finish_reason": "stop"}
    return Reply(body={"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}})


def capable(got: Got) -> Reply:
    """A server that can do everything."""
    body = got.json
    if body.get("stream"):
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
        usage = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
        return Reply(200, sse(chunk, usage))
    if "tools" in body:
        call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
        return message(content=None, tool_calls=[call])
    if "response_format" in body:
        return message(content='{"verdict": "warm"}')
    if body.get("n") == 2:
        return Reply(body={"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]})
    if isinstance(body["messages"][-1]["content"], list):
        return message(content="Red.")
    reply = message(content="Hi")
    if body.get("logprobs"):
        reply.body["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -0.1}]}
    return reply


def embedding(got: Got) -> Reply:
    size = got.json.get("dimensions", 8)
    return Reply(body={"data": [{"embedding": [0.5] * size}], "usage": {"prompt_tokens": 1}})


async def test_everything_a_server_does_is_found_with_evidence_and_within_the_plan() -> None:
    answers: dict[str, Any] = {
        "/v1/models": model_list("m", max_model_len=4096),
        "/v1/chat/completions": capable,
        "/v1/completions": Reply(body={"choices": [{"text": " 4"}]}),
        "/v1/embeddings": embedding,
    }
    seen: list[str] = []
    async with small_server(answers) as server:
        report = await probe(target(server.port), "m", progress=lambda ability, _: seen.append(ability))
    assert report.abilities() == {"chat", "generate", "embed", "vision", "tools", "json"}
    for ability in ("system", "streaming", "stream_usage", "logprobs", "n", "dimensions"):
        assert report.can(ability), report.findings
    assert all(finding.evidence for finding in report.findings.values())
    assert report.context_window == 4096
    assert report.dimensions == 8
    assert report.max_tokens_field == "max_tokens"
    assert report.first_token_ms is not None
    assert 0 < report.first_token_ms < 5000
    assert set(seen) == set(report.findings)
    allowed = plan("m")
    posts = [got for got in server.got if got.method == "POST"]
    assert report.calls == len(posts) <= allowed.calls
    assert sum(got.json.get("max_tokens", 0) * got.json.get("n", 1) for got in posts) <= allowed.max_tokens
    assert report.usage.prompt_tokens <= allowed.prompt_tokens
    assert str(allowed.calls) in str(allowed)


async def test_an_embedding_model_costs_one_refused_chat_call() -> None:
    refused = Reply(400, {"error": {"message": "This model does not support chat"}})
    async with small_server({"/v1/chat/completions": refused, "/v1/embeddings": embedding}) as server:
        report = await probe(target(server.port), "bge-chat-like-name")
    assert report.abilities() == {"embed"}
    assert "does not support chat" in report.findings["chat"].evidence
    assert server.paths().count("POST /v1/chat/completions") == 1


async def test_a_known_kind_asks_nothing_else() -> None:
    async with small_server({"/v1/embeddings": embedding}) as server:
        await probe(target(server.port), "e", kind="embed")
        assert {path for path in server.paths() if path.startswith("POST")} == {"POST /v1/embeddings"}
    ranked = Reply(body={"results": [{"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.1}]})
    async with small_server({"/v1/rerank": ranked}) as server:
        assert (await probe(target(server.port), "r", kind="rerank")).abilities() == {"rerank"}
    assert plan("r", "rerank").calls == 1


async def test_refusals_are_no_and_silence_about_a_field_is_not_taken_for_yes() -> None:
    def plain(got: Got) -> Reply:
        body = got.json
        if "tools" in body:
            return Reply(400, {"error": {"message": "tools are not supported"}})
        if isinstance(body["messages"][-1]["content"], list):
            return Reply(500, {"error": {"message": "crashed"}})
        return message(content="I cannot say.")

    async with small_server({"/v1/chat/completions": plain}) as server:
        report = await probe(target(server.port), "m", kind="chat")
    values = {ability: finding.value for ability, finding in report.findings.items()}
    assert values["chat"] == "yes"
    assert values["tools"] == "no"
    assert values["json"] == "no"
    assert values["logprobs"] == "no"
    assert values["n"] == "no"
    assert values["vision"] == "unknown"
    assert values["streaming"] == "no"
    assert values["generate"] == "no"


async def test_the_newer_token_field_and_a_refused_system_role_are_found_out() -> None:
    def picky(got: Got) -> Reply:
        body = got.json
        if "max_tokens" in body:
            message_ = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return Reply(400, {"error": {"message": message_}})
        if body["messages"][0]["role"] == "system":
            return Reply(400, {"error": {"message": "System role not supported"}})
        return capable(got)

    async with small_server({"/v1/chat/completions": picky}) as server:
        report = await probe(target(server.port), "m", kind="chat")
    assert report.max_tokens_field == "max_completion_tokens"
    assert report.can("chat")
    assert report.findings["system"].value == "no"
    assert report.calls <= plan("m", "chat").calls


async def test_a_stream_without_usage_support_is_told_from_no_stream() -> None:
    def older(got: Got) -> Reply:
        if "stream_options" in got.json:
            return Reply(400, {"error": {"message": "extra field stream_options"}})
        return capable(got)

    async with small_server({"/v1/chat/completions": older}) as server:
        report = await probe(target(server.port), "m", kind="chat")
    assert report.findings["stream_usage"].value == "no"
    assert report.can("streaming")


@pytest.mark.parametrize("make", [lambda: Reply(401, {"error": {"message": "bad canary-key-123456"}})])
async def test_a_rejected_key_stops_the_probe_without_showing_it(make: Callable[[], Reply]) -> None:
    async with small_server({"/v1/embeddings": make()}) as server:
        with pytest.raises(UpstreamAuth) as caught:
            await probe(target(server.port, authorization="Bearer canary-key-123456"), "m")
    assert "canary" not in str(caught.value)


async def test_no_answer_at_all_is_an_error() -> None:
    async with small_server({}) as server:
        port = server.port
    with pytest.raises(UpstreamError, match="Nothing listens"):
        await probe(target(port), "m")


async def test_the_network_policy_holds_for_probes() -> None:
    async with small_server({}) as server:
        with pytest.raises(DestinationDenied):
            await probe(target(server.port), "m", policy=NetworkPolicy(allow_loopback=False))
    assert server.connections == [0]


async def test_a_fake_upstream_is_probed_as_what_it_is() -> None:
    async with FakeUpstream(Behavior()) as server:
        report: AbilityReport = await probe(target(server.port), "fake-model")
    assert report.can("chat")
    assert report.can("streaming")
    assert report.can("stream_usage")
    assert report.can("embed")
    assert isinstance(report.findings["vision"], Finding)


def test_the_test_picture_is_a_png() -> None:
    assert red_square().startswith("data:image/png;base64,iVBORw0KGgo")
