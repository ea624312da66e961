"""One suite for every chat and embedding model and every wrapper: what holds for the seam holds for all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from byom.errors import ByomError
from byom.ledger.row import Row
from byom.limits.local import LocalLimiter
from byom.models.cached import CachedChatModel, CachedEmbeddingModel, MemoryStore
from byom.models.collect import collect
from byom.models.endpoint import EndpointChatModel, EndpointEmbeddingModel
from byom.models.function import FunctionChatModel, FunctionEmbeddingModel
from byom.models.limited import LimitedChatModel, LimitedEmbeddingModel
from byom.models.metered import Meter, MeteredChatModel, MeteredEmbeddingModel
from byom.models.protocols import ChatModel, EmbeddingModel
from byom.models.retrying import RetryingChatModel, RetryingEmbeddingModel
from byom.testing import Behavior, FakeUpstream
from byom.types.chat import ChatEvent, ChatRequest
from byom.types.limits import Limits, Scope
from byom.types.model_info import ModelInfo
from byom.types.target import Target

CHAT = ModelInfo(name="chatty")
EMBED = ModelInfo(name="vectors", abilities=frozenset({"embed"}))
SCOPES = (Scope(id="model:m", limits=Limits(concurrency=1)),)
TEXT = "Grüße \U0001f600 you said hello"


def target(upstream: FakeUpstream) -> Target:
    return Target(scheme="http", host="127.0.0.1", port=upstream.port, base_path="/v1")


async def plain(request: ChatRequest) -> AsyncIterator[str]:
    for word in TEXT.split(" "):
        yield word if word == "Grüße" else f" {word}"


def blocking(request: ChatRequest) -> tuple[str, tuple[int, int]]:
    return TEXT, (3, 7)


def vectors(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


ChatMaker = Callable[[FakeUpstream], ChatModel]
EmbedMaker = Callable[[FakeUpstream], EmbeddingModel]


def rows(row: Row) -> None:
    assert row.model


CHAT_MODELS: dict[str, ChatMaker] = {
    "endpoint": lambda up: EndpointChatModel(target(up), CHAT),
    "async generator": lambda up: FunctionChatModel(plain, CHAT),
    "plain function": lambda up: FunctionChatModel(blocking, CHAT),
    "limited": lambda up: LimitedChatModel(EndpointChatModel(target(up), CHAT), LocalLimiter(), SCOPES),
    "retrying": lambda up: RetryingChatModel(EndpointChatModel(target(up), CHAT)),
    "cached": lambda up: CachedChatModel(EndpointChatModel(target(up), CHAT), MemoryStore()),
    "metered": lambda up: MeteredChatModel(EndpointChatModel(target(up), CHAT), Meter(CHAT, rows)),
    "all together": lambda up: CachedChatModel(
        MeteredChatModel(
            LimitedChatModel(RetryingChatModel(FunctionChatModel(plain, CHAT)), LocalLimiter(), SCOPES),
            Meter(CHAT, rows),
        ),
        MemoryStore(),
    ),
}
EMBEDDING_MODELS: dict[str, EmbedMaker] = {
    "endpoint": lambda up: EndpointEmbeddingModel(target(up), EMBED),
    "function": lambda up: FunctionEmbeddingModel(vectors, EMBED),
    "limited": lambda up: LimitedEmbeddingModel(FunctionEmbeddingModel(vectors, EMBED), LocalLimiter(), SCOPES),
    "retrying": lambda up: RetryingEmbeddingModel(EndpointEmbeddingModel(target(up), EMBED)),
    "cached": lambda up: CachedEmbeddingModel(EndpointEmbeddingModel(target(up), EMBED), MemoryStore()),
    "metered": lambda up: MeteredEmbeddingModel(EndpointEmbeddingModel(target(up), EMBED), Meter(EMBED, rows)),
}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(Behavior(text=TEXT), models=("chatty", "vectors")) as server:
        yield server


@pytest.fixture(params=CHAT_MODELS)
async def chat_model(request: pytest.FixtureRequest, upstream: FakeUpstream) -> AsyncIterator[ChatModel]:
    async with contextlib.AsyncExitStack() as stack:
        model = CHAT_MODELS[request.param](upstream)
        stack.push_async_callback(model.aclose)
        yield model


@pytest.fixture(params=EMBEDDING_MODELS)
async def embedding_model(request: pytest.FixtureRequest, upstream: FakeUpstream) -> AsyncIterator[EmbeddingModel]:
    async with contextlib.AsyncExitStack() as stack:
        model = EMBEDDING_MODELS[request.param](upstream)
        stack.push_async_callback(model.aclose)
        yield model


def hello(**fields: object) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": "hello"}], temperature=0, **fields)  # type: ignore[arg-type]


def test_every_model_is_of_its_protocol(upstream: FakeUpstream) -> None:
    assert all(isinstance(make(upstream), ChatModel) for make in CHAT_MODELS.values())
    assert all(isinstance(make(upstream), EmbeddingModel) for make in EMBEDDING_MODELS.values())


async def test_the_texts_of_the_events_joined_are_the_answer(chat_model: ChatModel) -> None:
    events = [event async for event in chat_model.chat(hello())]
    assert "".join(event.text for event in events) == TEXT


async def test_the_last_event_carries_the_finish_reason_and_the_usage(chat_model: ChatModel) -> None:
    events = [event async for event in chat_model.chat(hello())]
    assert events[-1].finish_reason == "stop"
    assert events[-1].usage is not None
    assert events[-1].usage.prompt_tokens > 0
    assert events[-1].usage.completion_tokens > 0
    assert all(event.finish_reason is None and event.usage is None for event in events[:-1])


async def test_a_second_call_gives_the_same_answer(chat_model: ChatModel) -> None:
    first = await collect(chat_model.chat(hello()))
    second = await collect(chat_model.chat(hello()))
    assert (first.text, first.finish_reason) == (second.text, second.finish_reason)
    assert first.usage == second.usage


async def test_breaking_off_after_the_first_event_leaves_the_model_usable(chat_model: ChatModel) -> None:
    events = chat_model.chat(hello())
    first = await anext(events)
    assert isinstance(first, ChatEvent)
    await events.aclose()  # type: ignore[attr-defined]
    assert (await collect(chat_model.chat(hello()))).text == TEXT


async def test_a_stream_that_is_never_started_costs_nothing(chat_model: ChatModel, upstream: FakeUpstream) -> None:
    events = chat_model.chat(hello())
    await events.aclose()  # type: ignore[attr-defined]
    assert upstream.requests == []


async def test_closing_twice_does_no_harm(chat_model: ChatModel) -> None:
    await chat_model.aclose()
    await chat_model.aclose()


async def test_the_info_is_data_about_the_model(chat_model: ChatModel, embedding_model: EmbeddingModel) -> None:
    assert chat_model.info.name == "chatty"
    assert embedding_model.info.name == "vectors"


async def test_each_text_has_its_vector_in_order(embedding_model: EmbeddingModel) -> None:
    texts = ["a", "bbb", "a", "ж" * 10]
    result = await embedding_model.embed(texts)
    assert len(result.vectors) == len(texts)
    assert result.vectors[0] == result.vectors[2]
    assert result.vectors[0] != result.vectors[1]
    assert len({len(vector) for vector in result.vectors}) == 1
    assert result.usage.prompt_tokens > 0
    again = await embedding_model.embed(texts[::-1])
    assert again.vectors == result.vectors[::-1]


async def test_no_texts_are_no_vectors_and_no_call(embedding_model: EmbeddingModel, upstream: FakeUpstream) -> None:
    result = await embedding_model.embed([])
    assert result.vectors == []
    assert result.usage.total_tokens == 0
    assert upstream.requests == []


FAILING: dict[str, Callable[[ChatModel], ChatModel]] = {
    "bare": lambda model: model,
    "limited": lambda model: LimitedChatModel(model, LocalLimiter(), SCOPES),
    "retrying": lambda model: RetryingChatModel(model),
    "cached": lambda model: CachedChatModel(model, MemoryStore()),
    "metered": lambda model: MeteredChatModel(model, Meter(CHAT, rows)),
}


@pytest.mark.parametrize("wrap", FAILING)
async def test_an_error_passes_every_wrapper_as_it_is_and_the_next_call_works(wrap: str) -> None:
    calls = 0

    def fn(request: ChatRequest) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ByomError("once", code="special")
        return TEXT

    model = FAILING[wrap](FunctionChatModel(fn, CHAT))
    with pytest.raises(ByomError, match="once") as caught:
        await collect(model.chat(hello()))
    assert caught.value.code == "special"
    assert (await collect(model.chat(hello()))).text == TEXT
