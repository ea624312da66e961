"""The plain ways through the gateway."""

from __future__ import annotations

import httpx2
import openai

from byom.testing import Behavior, FakeUpstream
from tests.gateway.rig import MODEL, Rig

HELLO = [{"role": "user", "content": "Hello"}]


async def test_a_chat_completion_comes_back_as_the_upstream_wrote_it(
    rig: Rig, upstream: FakeUpstream, sdk: openai.AsyncOpenAI
) -> None:
    upstream.set_default(Behavior(text="Hi there", extra={"provider_extra": {"a": [1, None]}}))
    answer = await sdk.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "Hi there"
    assert answer.model_extra == {"provider_extra": {"a": [1, None]}}
    (row,) = rig.rows
    assert row.state == "ok"
    assert answer.usage is not None
    assert (row.prompt_tokens, row.completion_tokens) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert row.cost == row.prompt_tokens * 150_000 + row.completion_tokens * 600_000


async def test_a_stream_ends_with_one_done_and_leaks_no_usage(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    upstream.set_default(Behavior(text="one two three"))
    answer = await http.post("/chat/completions", json={"model": MODEL, "messages": HELLO, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data: [DONE]") == 1
    assert '"usage"' not in answer.text
    (row,) = rig.rows
    assert row.completion_tokens > 0
    assert row.first_token is not None
    assert not row.estimated


async def test_embeddings_and_models_work(rig: Rig, sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.embeddings.create(model=MODEL, input=["a", "b"])
    assert len(made.data) == 2
    assert [model.id async for model in sdk.models.list()] == [MODEL]
    assert len(rig.rows) == 1
