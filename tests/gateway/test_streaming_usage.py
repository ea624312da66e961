"""Usage of streams: what the caller sees of it, and what the ledger knows."""

from __future__ import annotations

from typing import Any, get_args

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream, Response
from byom.testing.behavior import UsageMode
from tests.gateway.rig import MODEL, Rig
from tests.gateway.streams import BOTH_SERVERS, chat, payloads, stream, text_of

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)
MODES = get_args(UsageMode)
SAYING = [mode for mode in MODES if mode != "none"]


@pytest.mark.parametrize("dribble", [None, 7])
@pytest.mark.parametrize("mode", MODES)
async def test_a_caller_who_asked_gets_usage_once_in_a_last_chunk(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, mode: UsageMode, dribble: int | None
) -> None:
    """gateway checklist 10, 20: whatever form the upstream gives it, and where it gives none, an estimate."""
    upstream.set_default(Behavior(tokens=("a", "b", "c"), usage=mode, dribble=dribble))
    text = await stream(http, stream_options={"include_usage": True})
    events = payloads(text)
    assert [bool(one.get("usage")) for one in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["choices"] == []
    assert events[-1]["id"] == events[0]["id"]
    assert events[-1]["model"] == MODEL
    usage, (row,) = events[-1]["usage"], rig.rows
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (row.prompt_tokens, row.completion_tokens)
    assert usage["total_tokens"] == row.prompt_tokens + row.completion_tokens
    assert usage.get("estimated", False) is row.estimated is (mode == "none")
    assert text_of(events) == "abc"
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
@pytest.mark.parametrize("mode", MODES)
async def test_a_caller_who_did_not_ask_sees_no_usage(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, mode: UsageMode, options: dict[str, Any]
) -> None:
    """gateway checklist 10, 11: the gateway asks for itself, and takes it out."""
    upstream.set_default(Behavior(tokens=("a", "b", "c"), usage=mode, prompt_tokens=11))
    text = await stream(http, **options)
    assert "usage" not in text
    assert all(one["choices"] for one in payloads(text))
    assert text_of(payloads(text)) == "abc"
    (request,) = upstream.requests
    assert request.json()["stream_options"] == {"include_usage": True}
    assert request.body.count(b'"stream_options"') == 1
    (row,) = rig.rows
    assert row.estimated is (mode == "none")
    assert row.cost
    if mode != "none":
        assert (row.prompt_tokens, row.completion_tokens) == (11, 3)
        assert row.cost == 11 * 150_000 + 3 * 600_000


async def test_other_stream_options_of_the_caller_stay(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 11, 23."""
    await stream(http, stream_options={"include_obfuscation": False, "x": [1]})
    assert upstream.requests[0].json()["stream_options"] == {
        "include_obfuscation": False,
        "x": [1],
        "include_usage": True,
    }


async def test_running_totals_pass_to_a_caller_who_asked_for_them(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 10: vLLM's option is the caller's choice."""
    upstream.set_default(Behavior(tokens=("a", "b", "c"), usage="continuous"))
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = payloads(await stream(http, stream_options=options))
    assert all(one["usage"] for one in events)
    assert rig.rows[0].completion_tokens == 3


async def test_a_model_that_does_not_know_stream_options_is_not_asked(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 11, 12."""
    rig.change_route(stream_usage="never")
    await stream(http)
    assert "stream_options" not in upstream.requests[0].json()
    assert rig.rows[0].estimated


@pytest.mark.parametrize("dribble", [None, 3])
async def test_details_of_usage_reach_the_ledger(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, dribble: int | None
) -> None:
    """gateway checklist 11."""
    upstream.set_default(Behavior(text="a b", prompt_tokens=20, cached_tokens=5, reasoning_tokens=4, dribble=dribble))
    await stream(http)
    (row,) = rig.rows
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.reasoning_tokens) == (20, 5, 6, 4)


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_upstream_without_usage_is_estimated_and_marked(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, streaming: bool
) -> None:
    """gateway checklist 12: policy estimate."""
    upstream.set_default(Behavior(chunks=40, usage="none"))
    answer = await http.post("/chat/completions", json=chat(stream=streaming))
    assert answer.status_code == 200
    (row,) = rig.rows
    assert (row.state, row.estimated) == ("ok", True)
    assert row.prompt_tokens > 0
    assert row.completion_tokens >= 40
    assert row.cost == row.prompt_tokens * 150_000 + row.completion_tokens * 600_000


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_upstream_without_usage_may_be_free(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, streaming: bool
) -> None:
    """gateway checklist 12: policy free."""
    rig.change_route(missing_usage="free")
    upstream.set_default(Behavior(text="a b", usage="none"))
    answer = await http.post("/chat/completions", json=chat(stream=streaming, stream_options={"include_usage": True}))
    assert "estimated" not in answer.text
    (row,) = rig.rows
    assert (row.state, row.estimated, row.prompt_tokens, row.completion_tokens) == ("ok", False, 0, 0)


@pytest.mark.parametrize("omit_done", [True, False])
async def test_a_stream_without_usage_fails_where_the_policy_says_so(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, omit_done: bool
) -> None:
    """gateway checklist 12: policy fail; what was produced is still counted."""
    rig.change_route(missing_usage="fail")
    upstream.set_default(Behavior(text="a b", usage="none", omit_done=omit_done))
    text = await stream(http)
    assert text_of(payloads(text)[:-1]) == "a b"
    assert "how many tokens" in payloads(text)[-1]["error"]["message"]
    assert "[DONE]" not in text
    (row,) = rig.rows
    assert (row.state, row.error, row.estimated) == ("error", "upstream_protocol", True)
    assert row.completion_tokens > 0


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
async def test_a_whole_answer_without_usage_fails_where_the_policy_says_so(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, path: str
) -> None:
    """gateway checklist 12: policy fail."""
    rig.change_route(missing_usage="fail")
    upstream.set_default(Behavior(text="a b", usage="none"))
    answer = await http.post(f"/{path}", json=chat(input="x"))
    assert answer.status_code == 502
    assert "how many tokens" in answer.json()["error"]["message"]
    assert rig.rows[0].state == "error"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("usage", [b"", b',"usage":{"prompt_tokens":5,"completion_tokens":7}'], ids=["without", "with"])
async def test_a_long_answer_without_usage_breaks_off_where_the_policy_says_so(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, usage: bytes
) -> None:
    """gateway checklist 12: policy fail, for an answer too long to be held."""
    rig.change_route(missing_usage="fail")
    answer = b'{"id":"a","choices":[{"index":0,"message":{"content":"%b"}}]%b}' % (b"long " * 200_000, usage)
    upstream.set_default(lambda request: Response(body=answer, headers={"content-type": "application/json"}))
    if usage:
        assert (await http.post("/chat/completions", json=chat())).content == answer
    else:
        with pytest.raises(httpx2.TransportError):
            await http.post("/chat/completions", json=chat())
    (row,) = await rig.wait_for_rows(1)
    assert row.state == ("ok" if usage else "error")


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_upstream_with_usage_is_not_touched_by_the_fail_policy(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, streaming: bool
) -> None:
    """gateway checklist 12."""
    rig.change_route(missing_usage="fail")
    upstream.set_default(Behavior(text="a b"))
    answer = await http.post("/chat/completions", json=chat(stream=streaming))
    assert answer.status_code == 200
    assert "error" not in answer.text
    assert rig.rows[0].state == "ok"


async def test_a_whole_answer_without_usage_that_is_streamed_has_an_estimate(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 10, 12."""
    answer = b'{"id":"a","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}'
    upstream.set_default(lambda request: Response(body=answer, headers={"content-type": "application/json"}))
    events = payloads(await stream(http, stream_options={"include_usage": True}))
    assert events[-1]["usage"]["estimated"] is True
    assert rig.rows[0].completion_tokens == events[-1]["usage"]["completion_tokens"]
