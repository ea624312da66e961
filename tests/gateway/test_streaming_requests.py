"""What a request says reaches the upstream as the caller wrote it, but for what the gateway has to change."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from byom.testing import FakeUpstream
from tests.gateway.rig import Rig
from tests.gateway.streams import HELLO, chat

FALSY: dict[str, Any] = {
    "temperature": 0,
    "top_p": 0.0,
    "seed": 0,
    "stop": [],
    "logit_bias": {},
    "user": "",
    "tools": [],
    "max_tokens": None,
    "parallel_tool_calls": False,
    "presence_penalty": -0.0,
    "n": 1,
}


@pytest.mark.parametrize("upstream_model", ["mock-model", "other/model:1"])
@pytest.mark.parametrize("streaming", [True, False])
async def test_falsy_parameters_are_kept(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, upstream_model: str, streaming: bool
) -> None:
    """gateway checklist 25: zero, empty and null are values; a field that is absent stays absent."""
    rig.change_route(upstream_model=upstream_model)
    await http.post("/chat/completions", json=chat(stream=streaming, **FALSY))
    (request,) = upstream.requests
    sent = request.json()
    assert sent.pop("stream_options", None) == ({"include_usage": True} if streaming else None)
    assert sent == {"messages": HELLO, "stream": streaming, "model": upstream_model} | FALSY
    assert "max_completion_tokens" not in sent


async def test_a_body_that_needs_no_change_is_not_written_anew(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 23, 25: order, spaces, escapes, big numbers, nested and odd fields."""
    body = (
        '{ "zz":1e400,"reasoning_content" : "\\u00e9\\n😀", "big":123456789012345678901234567890,\n'
        ' "model" : "mock-model", "messages":[{"role":"user","content":"\\"model\\": x","model2":null}],'
        ' "provider": {"order": [], "a": {}}}'
    ).encode()
    await http.post("/chat/completions", content=body, headers={"content-type": "application/json"})
    assert upstream.requests[0].body == body


async def test_only_the_model_changes_where_it_has_another_name(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 23, 25."""
    rig.change_route(upstream_model="they call it/this")
    body = b'{"a": 1,  "model":\t"mock-model" , "messages":[],"b":1.50}'
    await http.post("/chat/completions", content=body)
    assert upstream.requests[0].body == body.replace(b"mock-model", b"they call it/this")


async def test_unknown_fields_of_requests_pass(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 23: in the body, in messages and in parts of messages."""
    message = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "e"}}], "odd": 1}
    more = {"reasoning_effort": "low", "provider": {"only": ["a"]}, "guided_json": None}
    await http.post("/chat/completions", json=chat(messages=[message], stream=True, **more))
    sent = upstream.requests[0].json()
    assert sent["messages"] == [message]
    assert {name: sent[name] for name in more} == more


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("field", "given", "sent"),
    [
        ("max_tokens", {"max_completion_tokens": 7}, {"max_tokens": 7}),
        ("max_tokens", {"max_tokens": 7}, {"max_tokens": 7}),
        ("max_tokens", {"max_tokens": 7, "max_completion_tokens": 9}, {"max_tokens": 7}),
        ("max_tokens", {"max_tokens": None, "max_completion_tokens": 9}, {"max_tokens": 9}),
        ("max_completion_tokens", {"max_tokens": 7}, {"max_completion_tokens": 7}),
        ("max_completion_tokens", {"max_tokens": None}, {}),
        ("max_completion_tokens", {"max_tokens": None, "max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_completion_tokens", {}, {}),
        ("as-is", {"max_tokens": 7, "max_completion_tokens": 9}, {"max_tokens": 7, "max_completion_tokens": 9}),
        ("as-is", {"max_tokens": None}, {"max_tokens": None}),
    ],
)
async def test_the_two_names_of_the_output_limit_are_translated_per_model(
    rig: Rig,
    upstream: FakeUpstream,
    http: httpx2.AsyncClient,
    field: str,
    given: dict[str, Any],
    sent: dict[str, Any],
    streaming: bool,
) -> None:
    """gateway checklist 26: an upstream that knows one of the names gets that one alone."""
    rig.change_route(max_tokens_field=field)
    await http.post("/chat/completions", json=chat(stream=streaming, **given))
    got = upstream.requests[0].json()
    assert {name: value for name, value in got.items() if name.startswith("max_")} == sent


async def test_a_reused_head_does_not_bring_back_an_earlier_body(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 25: heads are kept between calls, bodies are not."""
    for temperature in (0, 1, 0.5, None):
        await http.post("/chat/completions", json=chat(temperature=temperature))
    assert [request.json()["temperature"] for request in upstream.requests] == [0, 1, 0.5, None]
    assert json.loads(upstream.requests[0].body) == chat(temperature=0)
