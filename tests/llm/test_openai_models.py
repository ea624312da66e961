"""`OpenAIModel` and `OpenAIEmbedModel`: OpenAI's wire format, prices, keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from byom.errors import ByomError, ConfigError
from byom.llm import OpenAIEmbedModel, OpenAIModel
from byom.models.collect import collect
from byom.testing import Behavior, FakeUpstream, ScriptedToolCall
from byom.types.chat import ChatRequest

USER = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(Behavior(text="An answer.", prompt_tokens=10, completion_tokens=4)) as server:
        yield server


def test_prices_and_windows_come_from_the_packaged_table_where_none_are_given() -> None:
    made = OpenAIModel("gpt-4o-mini", "sk-x")
    assert made.cost == (0.15 / 1_000_000, 0.6 / 1_000_000)
    assert made.context_window == 128_000
    assert made.price is not None
    assert made.price.source == "genai-prices"
    embed = OpenAIEmbedModel(name="text-embedding-3-large", api_key="sk-x")
    assert embed.cost[0] == 0.13 / 1_000_000
    assert embed.batch_size == 2048


def test_the_users_cost_and_window_win() -> None:
    made = OpenAIModel("gpt-4o", "sk-x", cost=(1e-6, 3e-6), context_window=1000, rate_limit=(7, 2))
    assert (made.cost, made.context_window, made.rate_limit) == ((1e-6, 3e-6), 1000, (7, 2.0))
    assert made.price is not None
    assert made.price.output == 3_000_000


def test_a_name_alone_tells_no_price_at_another_server() -> None:
    made = OpenAIModel("gpt-4o", base_url="http://127.0.0.1:9/v1")
    assert (made.cost, made.price, made.context_window) == (None, None, None)


def test_without_a_key_openai_is_not_called() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIModel("gpt-4o")


def test_rate_limits_have_defaults() -> None:
    assert OpenAIModel("gpt-4o-mini", "k").rate_limit == (300, 10.0)
    assert OpenAIModel("gpt-4o", "k").rate_limit == (20, 10.0)


async def test_args_are_sent_and_a_request_goes_before_them(upstream: FakeUpstream) -> None:
    made = OpenAIModel("m", base_url=upstream.base_url, temperature=0, system_prompt="Be brief.", top_k=3, max_tokens=9)
    answer = await made.generate("Hello?", temperature=0.5, user="ann")
    sent = upstream.requests[-1].fields()
    assert (answer.text, answer.usage.prompt_tokens) == ("An answer.", 10)
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *USER]
    assert (sent["temperature"], sent["top_k"], sent["user"], sent["max_tokens"]) == (0.5, 3, "ann", 9)
    assert upstream.requests[-1].header("authorization") is None
    await made.aclose()


async def test_the_chat_model_takes_whole_requests_and_streams(upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(tool_calls=(ScriptedToolCall("weather", {"city": "Oslo"}),)))
    made = OpenAIModel("m", "sk-1", base_url=upstream.base_url)
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    answer = await collect(made.as_chat_model().chat(ChatRequest(messages=USER, tools=tools)))
    assert answer.tool_calls[0]["function"]["name"] == "weather"
    assert upstream.requests[-1].fields()["tools"] == tools
    await made.aclose()


async def test_errors_of_the_server_pass_and_do_not_show_the_key(upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(status=401, error={"message": "Incorrect API key provided: sk-very-secret-1"}))
    made = OpenAIModel("m", "sk-very-secret-1", base_url=upstream.base_url)
    with pytest.raises(ByomError) as caught:
        await made.generate("Hello?")
    assert "very-secret" not in str(caught.value) + repr(made) + repr(made.client)
    await made.aclose()


async def test_vectors_of_the_length_that_is_asked_for(upstream: FakeUpstream) -> None:
    made = OpenAIEmbedModel("e", base_url=upstream.base_url, batch_size=2, dimensions=5)
    result = await made.embed(["a", "b", "c"])
    assert len(result.vectors) == 3
    assert sorted(len(request.fields()["input"]) for request in upstream.requests) == [1, 2]
    assert upstream.requests[0].fields()["dimensions"] == 5
    await made.aclose()


def test_a_model_serves_one_event_loop_after_another(upstream: FakeUpstream) -> None:
    made = OpenAIModel("m", base_url=upstream.base_url)

    async def ask() -> str:
        answer = await made.generate("Hello?")
        await made.aclose()
        return answer.text

    assert [asyncio.run(ask()) for _ in range(3)] == ["An answer."] * 3


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
async def test_the_client_may_be_one_of_the_openai_package(kind: Any, upstream: FakeUpstream) -> None:
    def setup(api_key: str) -> Any:
        return kind(api_key=api_key, base_url=upstream.base_url)

    made = OpenAIModel("m", "sk-1", setup_fn=setup, cost=1e-6, system_prompt="Be brief.", temperature=0)
    answer = await made.generate("Hello?")
    assert (answer.text, answer.cost) == ("An answer.", Decimal("0.000014"))
    assert upstream.requests[-1].fields()["messages"][0]["role"] == "system"
    embed = OpenAIEmbedModel("e", setup_fn=setup, api_key="sk-1")
    assert len((await embed.embed(["a", "b"])).vectors) == 2
    for one in (made, embed):
        closing = one.client.close()
        if closing is not None:
            await closing


async def test_calls_run_beside_each_other(upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(text="x", latency=0.1))
    made = OpenAIModel("m", base_url=upstream.base_url)
    began = time.perf_counter()
    await asyncio.gather(*(made.generate(str(number)) for number in range(30)))
    assert time.perf_counter() - began < 1.5  # one after the other: 3 s
    await made.aclose()


async def test_the_function_can_be_called_as_lloom_calls_it(upstream: FakeUpstream) -> None:
    made = OpenAIModel("m", base_url=upstream.base_url)
    assert await made.fn(made, "Hello?") == ("An answer.", (10, 4))
    embed = OpenAIEmbedModel("e", base_url=upstream.base_url)
    vectors, _ = await embed.fn(embed, ["a", "b"])
    assert len(vectors) == 2
    await made.aclose()
    await embed.aclose()
