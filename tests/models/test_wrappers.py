from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from byom.errors import BadRequest, BudgetExceeded, ByomError, LimitExceeded, UpstreamError
from byom.ledger.row import Row
from byom.limits.local import LocalLimiter
from byom.models.cached import CachedChatModel, CachedEmbeddingModel, MemoryStore
from byom.models.collect import collect
from byom.models.function import FunctionChatModel, FunctionEmbeddingModel
from byom.models.limited import LimitedChatModel, LimitedEmbeddingModel
from byom.models.metered import Meter, MeteredChatModel, MeteredEmbeddingModel
from byom.models.retrying import Backoff, RetryingChatModel, RetryingEmbeddingModel
from byom.types.chat import ChatRequest
from byom.types.limits import Budget, Limits, Scope, Window
from byom.types.model_info import ModelInfo
from byom.types.usage import Price, per_million

PRICE = Price(input=per_million("1"), output=per_million("2"), version="v1")
INFO = ModelInfo(name="m", price=PRICE)
HELLO = ChatRequest(messages=[{"role": "user", "content": "hello"}], temperature=0, max_tokens=10)


def scope(**limits: object) -> tuple[Scope, ...]:
    return (Scope(id="model:m", limits=Limits(**limits)),)  # type: ignore[arg-type]


def told(request: ChatRequest) -> tuple[str, tuple[int, int]]:
    return "answer", (100, 10)


class Flaky:
    """Fails with each error in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, request: object) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "fine"


class Sleeps:
    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


# --- limits


async def test_a_call_over_the_limit_is_refused_with_the_rule_and_the_time() -> None:
    model = LimitedChatModel(
        FunctionChatModel(told, INFO), LocalLimiter(), scope(windows=(Window("requests", 2, 60.0),))
    )
    await collect(model.chat(HELLO))
    await collect(model.chat(HELLO))
    with pytest.raises(LimitExceeded, match=r"2 requests per 60 s.*Try again in") as caught:
        await collect(model.chat(HELLO))
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 60


async def test_a_call_waits_for_its_turn_when_the_scope_says_so() -> None:
    running = 0
    most = 0

    async def slow(request: ChatRequest) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return "done"

    model = LimitedChatModel(FunctionChatModel(slow, INFO), LocalLimiter(), scope(concurrency=2, max_wait=10.0))
    answers = await asyncio.gather(*(collect(model.chat(HELLO)) for _ in range(10)))
    assert {answer.text for answer in answers} == {"done"}
    assert most == 2


@pytest.mark.parametrize("how", ["break off", "cancel", "fail"])
async def test_a_slot_is_given_back_however_the_call_ends(how: str) -> None:
    """Gateway checklist 3."""
    limiter = LocalLimiter()
    first = True

    async def fn(request: ChatRequest) -> AsyncIterator[str]:
        nonlocal first
        yield "one"
        if not first:
            return
        first = False
        if how == "fail":
            raise ValueError("broken")
        await asyncio.sleep(60)

    model = LimitedChatModel(FunctionChatModel(fn, INFO), limiter, scope(concurrency=1))
    events = model.chat(HELLO)
    await anext(events)
    assert limiter.in_flight("model:m") == 1
    if how == "break off":
        await events.aclose()
        first = False
    elif how == "cancel":
        task = asyncio.create_task(anext(events))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(UpstreamError):
            await anext(events)
    assert limiter.in_flight("model:m") == 0
    assert (await collect(model.chat(HELLO))).text == "one"


async def test_tokens_are_settled_by_what_was_really_used() -> None:
    model = LimitedChatModel(
        FunctionChatModel(told, INFO), LocalLimiter(), scope(windows=(Window("tokens", 250, 60.0),))
    )
    await collect(model.chat(HELLO))  # 110 tokens
    await collect(model.chat(HELLO))
    with pytest.raises(LimitExceeded):
        await collect(model.chat(ChatRequest(messages=HELLO.messages, max_tokens=100)))


async def test_a_spent_budget_is_its_own_error() -> None:
    cost = 120 * per_million("1")
    model = LimitedChatModel(FunctionChatModel(told, INFO), LocalLimiter(), scope(budgets=(Budget(cost),)))
    await collect(model.chat(HELLO))
    with pytest.raises(BudgetExceeded):
        await collect(model.chat(HELLO))


async def test_embeddings_count_too() -> None:
    inner = FunctionEmbeddingModel(lambda texts: [[1.0] for _ in texts], INFO)
    model = LimitedEmbeddingModel(inner, LocalLimiter(), scope(windows=(Window("requests", 1, 60.0),)))
    await model.embed(["a"])
    with pytest.raises(LimitExceeded):
        await model.embed(["a"])


# --- retries


async def test_what_may_pass_is_tried_again_with_growing_jittered_pauses() -> None:
    fn, sleeps = Flaky(UpstreamError("a"), UpstreamError("b")), Sleeps()
    model = RetryingChatModel(FunctionChatModel(fn, INFO), Backoff(base_delay=1.0), sleep=sleeps, uniform=lambda: 0.5)
    assert (await collect(model.chat(HELLO))).text == "fine"
    assert sleeps.slept == [0.5, 1.0]


async def test_retry_after_is_kept_to_and_a_long_one_is_passed_on() -> None:
    fn, sleeps = Flaky(LimitExceeded("slow", retry_after=7.0)), Sleeps()
    model = RetryingChatModel(FunctionChatModel(fn, INFO), sleep=sleeps, uniform=lambda: 0.0)
    assert (await collect(model.chat(HELLO))).text == "fine"
    assert sleeps.slept == [7.0]
    fn, sleeps = Flaky(LimitExceeded("slow", retry_after=700.0)), Sleeps()
    model = RetryingChatModel(FunctionChatModel(fn, INFO), sleep=sleeps)
    with pytest.raises(LimitExceeded):
        await collect(model.chat(HELLO))
    assert sleeps.slept == []


async def test_attempts_are_bounded_and_what_is_the_callers_fault_is_not_tried_again() -> None:
    fn = Flaky(*[UpstreamError(str(number)) for number in range(9)])
    with pytest.raises(UpstreamError, match="2"):
        await collect(RetryingChatModel(FunctionChatModel(fn, INFO), sleep=Sleeps()).chat(HELLO))
    assert fn.calls == 3
    fn = Flaky(BadRequest("wrong"))
    with pytest.raises(BadRequest):
        await collect(RetryingChatModel(FunctionChatModel(fn, INFO), sleep=Sleeps()).chat(HELLO))
    assert fn.calls == 1


async def test_nothing_is_tried_again_after_the_first_event() -> None:
    """Gateway checklist 31."""
    calls = 0

    async def breaks(request: ChatRequest) -> AsyncIterator[str]:
        nonlocal calls
        calls += 1
        yield "half"
        raise UpstreamError("broke")

    model = RetryingChatModel(FunctionChatModel(breaks, INFO), sleep=Sleeps())
    with pytest.raises(UpstreamError):
        await collect(model.chat(HELLO))
    assert calls == 1


async def test_embeddings_are_tried_again() -> None:
    fn = Flaky(UpstreamError("a"))
    inner = FunctionEmbeddingModel(lambda texts: [[1.0]] if fn(texts) else [], INFO)
    assert (await RetryingEmbeddingModel(inner, sleep=Sleeps()).embed(["a"])).vectors == [[1.0]]


# --- cache


async def test_the_same_request_is_answered_once_and_every_difference_counts() -> None:
    fn = Flaky()
    hits: list[int] = []
    store = MemoryStore()
    inner = FunctionChatModel(fn, INFO)
    model = CachedChatModel(inner, store, scope="a", on_hit=lambda usage: hits.append(usage.total_tokens))
    await collect(model.chat(HELLO))
    await collect(model.chat(HELLO))
    assert fn.calls == 1
    assert len(hits) == 1
    others = [
        CachedChatModel(inner, store, scope="b").chat(HELLO),
        CachedChatModel(inner, store, scope="a", version=1).chat(HELLO),
        model.chat(ChatRequest(messages=HELLO.messages, temperature=0, max_tokens=11)),
        model.chat(ChatRequest(messages=HELLO.messages, temperature=0, max_tokens=10, extra={"top_k": 1})),
    ]
    for events in others:
        await collect(events)
    assert fn.calls == 5


async def test_sampled_answers_and_failures_are_not_kept() -> None:
    """Gateway checklist 76."""
    fn = Flaky(UpstreamError("once"))
    model = CachedChatModel(FunctionChatModel(fn, INFO), MemoryStore())
    with pytest.raises(UpstreamError):
        await collect(model.chat(HELLO))
    await collect(model.chat(HELLO))
    assert fn.calls == 2
    for request in (
        ChatRequest(messages=HELLO.messages),
        ChatRequest(messages=HELLO.messages, temperature=0.7),
        ChatRequest(messages=HELLO.messages, temperature=0, tools=[{"type": "function"}]),
    ):
        before = fn.calls
        await collect(model.chat(request))
        await collect(model.chat(request))
        assert fn.calls == before + 2
    sampled = CachedChatModel(FunctionChatModel(fn, INFO), MemoryStore(), sampled=True)
    before = fn.calls
    await collect(sampled.chat(ChatRequest(messages=HELLO.messages)))
    await collect(sampled.chat(ChatRequest(messages=HELLO.messages)))
    assert fn.calls == before + 1


async def test_an_answer_that_is_broken_off_is_not_kept() -> None:
    async def two(request: ChatRequest) -> AsyncIterator[str]:
        yield "one"
        yield " two"

    model = CachedChatModel(FunctionChatModel(two, INFO), MemoryStore())
    events = model.chat(HELLO)
    await anext(events)
    await events.aclose()
    assert (await collect(model.chat(HELLO))).text == "one two"


async def test_the_memory_store_forgets_by_age_and_by_size() -> None:
    now = [0.0]
    store = MemoryStore(max_bytes=10, clock=lambda: now[0])
    await store.set(b"a", b"12345", 5.0)
    await store.set(b"b", b"12345", 50.0)
    assert await store.get(b"a") == b"12345"
    await store.set(b"c", b"12345", 50.0)  # b was used longest ago
    assert await store.get(b"b") is None
    now[0] = 6.0
    assert await store.get(b"a") is None
    await store.set(b"d", b"x" * 11, 50.0)
    assert await store.get(b"d") is None


async def test_only_new_texts_are_embedded() -> None:
    asked: list[list[str]] = []

    def fn(texts: list[str]) -> list[list[float]]:
        asked.append(texts)
        return [[float(len(text))] for text in texts]

    model = CachedEmbeddingModel(FunctionEmbeddingModel(fn, INFO), MemoryStore())
    await model.embed(["a", "bb", "a"])
    result = await model.embed(["ccc", "bb"])
    assert asked == [["a", "bb"], ["ccc"]]
    assert result.vectors == [[3.0], [2.0]]


# --- ledger


async def metered(fn: object, *, take: int | None = None, info: ModelInfo = INFO) -> list[Row]:
    rows: list[Row] = []
    meter = Meter(info, rows.append, connection="c", user="u", origin="evaluation")
    model = MeteredChatModel(FunctionChatModel(fn, info), meter)  # type: ignore[arg-type]
    events = model.chat(HELLO)
    try:
        taken = 0
        async for _ in events:
            taken += 1
            if taken == take:
                break
    except ByomError:
        pass
    await events.aclose()
    return rows


async def test_a_call_writes_one_row_with_tokens_cost_and_times() -> None:
    (row,) = await metered(told)
    assert (row.model, row.connection, row.user, row.origin) == ("m", "c", "u", "evaluation")
    assert (row.state, row.status, row.route) == ("ok", 200, "chat/completions")
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (100, 10, False)
    assert row.cost == 100 * per_million("1") + 10 * per_million("2")
    assert row.price_version == "v1"
    assert row.first_token is not None
    assert 0 <= row.first_token <= row.latency


async def test_an_unknown_price_is_null_and_never_zero() -> None:
    """Gateway checklist 56."""
    (row,) = await metered(told, info=ModelInfo(name="m"))
    assert row.cost is None


async def test_failed_refused_and_broken_off_calls_have_a_row_too() -> None:
    async def words(request: ChatRequest) -> AsyncIterator[str]:
        for number in range(5):
            yield f"word{number} "

    (failed,) = await metered(Flaky(ValueError("no")))
    assert (failed.state, failed.status, failed.error, failed.cost) == ("error", 502, "upstream_error", 0)
    (refused,) = await metered(Flaky(LimitExceeded("no", details={"scope": "model:m"})))
    assert (refused.state, refused.status) == ("refused", 429)
    (cancelled,) = await metered(words, take=2)
    assert (cancelled.state, cancelled.status, cancelled.estimated) == ("cancelled", 499, True)
    assert cancelled.completion_tokens > 0
    assert cancelled.cost
    (whole,) = await metered(words, take=6)
    assert whole.state == "ok"


async def test_an_answer_from_the_cache_has_a_row_that_costs_nothing() -> None:
    rows: list[Row] = []
    meter = Meter(INFO, rows.append)
    model = CachedChatModel(MeteredChatModel(FunctionChatModel(told, INFO), meter), MemoryStore(), on_hit=meter.hit)
    await collect(model.chat(HELLO))
    await collect(model.chat(HELLO))
    assert [(row.state, row.prompt_tokens, row.cost) for row in rows] == [
        ("ok", 100, 100 * per_million("1") + 10 * per_million("2")),
        ("cached", 100, 0),
    ]
    assert len({row.id for row in rows}) == 2


async def test_embeddings_have_rows() -> None:
    rows: list[Row] = []
    inner = FunctionEmbeddingModel(lambda texts: ([[1.0] for _ in texts], (7, 0)), INFO)
    await MeteredEmbeddingModel(inner, Meter(INFO, rows.append)).embed(["a"])
    assert [(row.route, row.prompt_tokens, row.state) for row in rows] == [("embeddings", 7, "ok")]
