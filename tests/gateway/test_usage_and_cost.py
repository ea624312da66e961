"""What an answer says was used, in each provider's way of saying it, and what that costs: a golden table."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from byom.catalog.snapshot import CachePolicy, Retry
from byom.gateway.usage import read_answer
from byom.testing import Behavior, FakeUpstream, Response
from byom.types.usage import Price, Usage, to_dollars
from tests.gateway.rig import MODEL, Rig, key
from tests.gateway.wire import body_of, post, wire

PRICE = Price(
    input=1_000,
    output=10_000,
    cached_input=100,
    cache_write=1_250,
    audio_input=5_000,
    audio_output=50_000,
    request=7,
    version="golden",
)


class Golden(NamedTuple):
    usage: dict[str, Any]
    prompt: int
    completion: int
    cost: int
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    path: str = "chat/completions"


GOLDEN = {
    "OpenAI, plain": Golden({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}, 100, 20, 300_007),
    "OpenAI, cached is a part of the prompt": Golden(
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        100,
        20,
        20 * 1_000 + 80 * 100 + 20 * 10_000 + 7,
        cached=80,
    ),
    "OpenAI, reasoning is a part of the completion": Golden(
        {
            "prompt_tokens": 10,
            "completion_tokens": 50,
            "total_tokens": 60,
            "completion_tokens_details": {"reasoning_tokens": 40, "accepted_prediction_tokens": 3},
        },
        10,
        50,
        10 * 1_000 + 50 * 10_000 + 7,
        reasoning=40,
    ),
    "OpenAI, audio is a part of both": Golden(
        {
            "prompt_tokens": 100,
            "completion_tokens": 60,
            "total_tokens": 160,
            "prompt_tokens_details": {"audio_tokens": 70, "cached_tokens": 10},
            "completion_tokens_details": {"audio_tokens": 50},
        },
        100,
        60,
        20 * 1_000 + 10 * 100 + 70 * 5_000 + 10 * 10_000 + 50 * 50_000 + 7,
        cached=10,
    ),
    "OpenAI, responses": Golden(
        {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 25},
            "total_tokens": 130,
        },
        100,
        30,
        40 * 1_000 + 60 * 100 + 30 * 10_000 + 7,
        cached=60,
        reasoning=25,
        path="responses",
    ),
    "OpenAI, embeddings": Golden({"prompt_tokens": 8, "total_tokens": 8}, 8, 0, 8_007, path="embeddings"),
    "rerank, in total alone": Golden({"total_tokens": 12}, 12, 0, 12_007, path="rerank"),
    "Anthropic, cache tokens come on top": Golden(
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "service_tier": "standard",
        },
        3_210,
        5,
        10 * 1_000 + 200 * 1_250 + 3_000 * 100 + 5 * 10_000 + 7,
        cached=3_000,
        written=200,
        path="messages",
    ),
    "Anthropic, nothing cached": Golden(
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": 0,
            "output_tokens": 5,
        },
        10,
        5,
        60_007,
        path="messages",
    ),
    "a proxy in OpenAI's form with Anthropic's counts, which are in the prompt already": Golden(
        {
            "prompt_tokens": 3_210,
            "completion_tokens": 5,
            "total_tokens": 3_215,
            "prompt_tokens_details": {"cached_tokens": 3_000},
            "cache_read_input_tokens": 3_000,
            "cache_creation_input_tokens": 200,
        },
        3_210,
        5,
        210 * 1_000 + 3_000 * 100 + 5 * 10_000 + 7,
        cached=3_000,
    ),
    "DeepSeek, hits and misses are the prompt": Golden(
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        },
        100,
        20,
        36 * 1_000 + 64 * 100 + 20 * 10_000 + 7,
        cached=64,
    ),
    "xAI, reasoning comes on top of the completion": Golden(
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
        },
        32,
        103,
        26 * 1_000 + 6 * 100 + 103 * 10_000 + 7,
        cached=6,
        reasoning=94,
    ),
    "numbers with a point": Golden(
        {"prompt_tokens": 100.0, "completion_tokens": 20.0, "total_tokens": 120.0}, 100, 20, 300_007
    ),
    "details that are null": Golden(
        {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": None}, 100, 20, 300_007
    ),
    "more cached than prompted": Golden(
        {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 900}},
        100,
        0,
        100 * 100 + 7,
        cached=100,
    ),
    "details of an unexpected kind": Golden(
        {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": "none"}, 100, 20, 300_007
    ),
}


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN.keys())
async def test_every_token_is_counted_once_in_its_own_class(rig: Rig, upstream: FakeUpstream, golden: Golden) -> None:
    """gateway checklist 55"""
    rig.change_route(price=PRICE)
    body = json.dumps({"id": "a", "choices": [], "usage": golden.usage}).encode()
    upstream.set_default(lambda request: Response(body=body))
    async with wire(rig.port) as line:
        assert (await line.call(post(body_of(), path=f"/v1/{golden.path}"))).body == body
    (row,) = rig.rows
    assert (row.prompt_tokens, row.completion_tokens) == (golden.prompt, golden.completion)
    assert (row.cached_tokens, row.cache_write_tokens) == (golden.cached, golden.written)
    assert row.reasoning_tokens == golden.reasoning
    assert row.cost == golden.cost
    assert type(row.cost) is int
    assert (row.price_version, row.estimated) == ("golden", False)


ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 3_000,
                "output_tokens": 1,
            },
        },
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("repeats_input", [False, True])
async def test_a_stream_of_the_messages_route_says_it_in_two_parts(
    rig: Rig, upstream: FakeUpstream, repeats_input: bool
) -> None:
    """gateway checklist 55: first what went in, last what came out"""
    events = json.loads(json.dumps(ANTHROPIC))
    if repeats_input:
        events[2]["usage"] |= {
            "input_tokens": 10,
            "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3_000,
        }
    rig.change_route(price=PRICE)
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    upstream.set_default(lambda request: Response(body=body, headers={"content-type": "text/event-stream"}))
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of(stream=True, max_tokens=9), path="/v1/messages"))
    assert reply.body == body
    (row,) = rig.rows
    assert (row.state, row.upstream_id) == ("ok", "msg_1")
    assert (row.prompt_tokens, row.completion_tokens) == (3_210, 5)
    assert (row.cached_tokens, row.cache_write_tokens) == (3_000, 200)
    assert row.cost == GOLDEN["Anthropic, cache tokens come on top"].cost


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": 5, "completion_tokens": -1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
        {"prompt_tokens": 1e300, "completion_tokens": 1},
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -100}},
        {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 10**30}},
        {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": -(10**9)},
    ],
)
async def test_counts_that_cannot_be_give_nobody_money(rig: Rig, upstream: FakeUpstream, usage: dict[str, Any]) -> None:
    """gateway checklist 55: a server may be wrong, or hostile"""
    body = json.dumps({"id": "a", "choices": [], "usage": usage}).encode()
    upstream.set_default(lambda request: Response(body=body))
    async with wire(rig.port) as line:
        assert (await line.call(post(body_of()))).status == 200
    (row,) = rig.rows
    assert row.cost is not None
    assert 0 <= row.cost < 10**18
    for count in (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens):
        assert 0 <= count <= 10**12


async def test_a_price_that_is_not_known_costs_null_and_never_zero(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 56"""
    async with wire(rig.port) as line:
        rig.change_route(price=None)
        await line.call(post(body_of()))
        rig.change_route(price=Price(input=0, output=0, source="local", version="local"))
        await line.call(post(body_of()))
    assert [(row.cost, row.price_version) for row in rig.rows] == [(None, ""), (0, "local")]


@pytest.mark.parametrize("kept", [False, True], ids=["straight", "general"])
async def test_an_answer_says_what_it_cost_where_that_is_known(rig: Rig, kept: bool) -> None:
    async with wire(rig.port) as line:
        rig.change_route(price=PRICE, cache=CachePolicy() if kept else None)
        reply = await line.call(post(body_of(temperature=0)))
        (row,) = rig.rows
        assert row.cost is not None
        assert Decimal(reply.headers["x-byom-cost"]) == to_dollars(row.cost)
        rig.change_route(price=None)
        reply = await line.call(post(body_of(temperature=0)))
        assert "x-byom-cost" not in reply.headers


async def test_a_call_that_failed_or_was_refused_costs_nothing(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 57"""
    rig.change_route(retry=Retry(attempts=1), price=PRICE)
    upstream.enqueue(Behavior(status=500), Behavior(status=400), Behavior(malformed="html"))
    async with wire(rig.port) as line:
        for _ in range(3):
            await line.call(post(body_of()))
    assert [row.cost for row in rig.rows] == [0, 0, 0]


async def test_every_row_says_whose_it_is(rig: Rig) -> None:
    """gateway checklist 57"""
    caller = key(user_name="ada")
    rig.swap(keys={caller.id: caller})
    async with wire(rig.port) as line:
        await line.call(post(body_of()))
    (row,) = rig.rows
    assert (row.key, row.user, row.model, row.route) == (caller.id, "ada", MODEL, "chat/completions")


def test_money_is_whole_numbers() -> None:
    """gateway checklist 58: a third of a cent a token, a million times, is exact"""
    price = Price(input=333_333_333, output=1)
    assert price.cost(Usage(prompt_tokens=10**9, completion_tokens=1)) == 333_333_333 * 10**9 + 1
    answer = read_answer(b'{"usage":{"prompt_tokens":3,"completion_tokens":2}}')
    assert answer is not None
    assert answer.usage is not None
    assert answer.usage.tokens() == Usage(prompt_tokens=3, completion_tokens=2)
