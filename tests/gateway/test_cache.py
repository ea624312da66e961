"""The exact-match cache: for whom, of what, how long, how much."""

from __future__ import annotations

from typing import Any

import pytest

from byom.catalog.snapshot import CachePolicy, GatewaySettings, Retry
from byom.gateway.cache import AnswerStore
from byom.testing import Behavior, FakeUpstream
from tests.gateway.rig import MODEL, OTHER_TOKEN, TOKEN, Rig, key
from tests.gateway.wire import Reply, body_of, post, wire


@pytest.fixture(autouse=True)
def cached(rig: Rig) -> None:
    rig.change_route(cache=CachePolicy(), retry=Retry(attempts=1))


async def ask(rig: Rig, *lines: str, token: str = TOKEN, path: str = "chat/completions", **fields: Any) -> Reply:
    async with wire(rig.port) as line:
        body = body_of(**({"temperature": 0} | fields))
        return await line.call(post(body, *lines, token=token, path=f"/v1/{path}"))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_equal_request_is_answered_from_memory(rig: Rig, upstream: FakeUpstream, stream: bool) -> None:
    """gateway checklist 76"""
    first, second = await ask(rig, stream=stream), await ask(rig, stream=stream)
    assert first.body == second.body
    assert first.headers["content-type"] == second.headers["content-type"]
    assert second.headers["x-byom-cache"] == "hit"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(upstream.requests) == 1
    assert [(row.state, row.cost == 0) for row in rig.rows] == [("ok", False), ("cached", True)]


async def test_users_do_not_share_answers(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 76: the key's user is a part of the cache's key"""
    one, other = key(), key(OTHER_TOKEN)
    rig.swap(keys={one.id: one, other.id: other})
    await ask(rig)
    await ask(rig, token=OTHER_TOKEN)
    assert len(upstream.requests) == 2
    rig.swap(keys={one.id: one, other.id: key(OTHER_TOKEN, user_id=one.user_id)})
    await ask(rig, token=OTHER_TOKEN)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.0001},
        {"temperature": None},
        {"seed": 1},
        {"top_p": 0.5},
        {"max_tokens": 5},
        {"n": 2},
        {"stop": ["a"]},
        {"response_format": {"type": "json_object"}},
        {"user": "u"},
        {"unknown": 1},
        {"stream": True},
        {"messages": [{"role": "user", "content": "Hello "}]},
    ],
    ids=str,
)
async def test_any_difference_in_the_request_is_another_one(
    rig: Rig, upstream: FakeUpstream, fields: dict[str, Any]
) -> None:
    """gateway checklist 76"""
    await ask(rig)
    await ask(rig, **fields)
    assert len(upstream.requests) == 2


async def test_the_route_its_query_and_headers_that_pass_count(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 76"""
    await ask(rig)
    await ask(rig, path="completions")
    await ask(rig, path="chat/completions?a=b")
    await ask(rig, "OpenAI-Beta: x")
    assert len(upstream.requests) == 4


async def test_an_edit_of_the_model_begins_anew(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 76: the version is a part of the key"""
    await ask(rig)
    rig.change_route(version=7)
    await ask(rig)
    assert len(upstream.requests) == 2


TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize("fields", [{"temperature": 0.7}, {"temperature": None}, {"tools": TOOLS}], ids=str)
async def test_answers_that_may_differ_are_not_kept_unless_asked_for(
    rig: Rig, upstream: FakeUpstream, fields: dict[str, Any]
) -> None:
    """gateway checklist 76"""
    for _ in range(2):
        await ask(rig, **fields)
    assert len(upstream.requests) == 2
    rig.change_route(cache=CachePolicy(sampled=True))
    for _ in range(2):
        await ask(rig, **fields)
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "behavior",
    [
        Behavior(status=400),
        Behavior(status=500),
        Behavior(malformed="html"),
        Behavior(tokens=("a", "b"), cut_after_chunks=1),
        Behavior(tokens=("a", "b"), error_after_chunks=1),
        Behavior(tokens=("a", "b"), cut_after_chunks=1, cut="end"),
    ],
    ids=lambda one: f"{one.status}-{one.malformed}-{one.cut}-{one.error_after_chunks}",
)
async def test_only_whole_good_answers_are_kept(rig: Rig, upstream: FakeUpstream, behavior: Behavior) -> None:
    """gateway checklist 76 and 15"""
    upstream.enqueue(behavior)
    await ask(rig, stream=True)
    await ask(rig, stream=True)
    assert len(upstream.requests) == 2


async def test_a_model_without_a_policy_is_not_cached(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 76"""
    rig.change_route(cache=None)
    for _ in range(2):
        await ask(rig)
    assert len(upstream.requests) == 2


async def test_a_key_that_lost_the_model_gets_no_kept_answer(rig: Rig) -> None:
    """gateway checklist 54 and 76"""
    assert (await ask(rig)).status == 200
    caller = key(models=frozenset({"other"}))
    rig.swap(keys={caller.id: caller})
    assert (await ask(rig)).status == 404
    assert MODEL in rig.gateway.snapshot.routes


async def test_answers_are_kept_for_their_time_and_within_their_room(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 76 and 86"""
    rig.change_route(cache=CachePolicy(seconds=-1.0))
    for _ in range(2):
        await ask(rig)
    assert len(upstream.requests) == 2
    rig.change_route(cache=CachePolicy())
    rig.swap(settings=GatewaySettings(cache_bytes=2000))
    for number in range(20):
        await ask(rig, seed=number)
        assert rig.gateway.cache.bytes <= 2000
    assert 0 < len(rig.gateway.cache) < 10


def test_the_one_not_used_for_longest_goes_first() -> None:
    """gateway checklist 86"""
    store = AnswerStore(100)
    store.put(b"a", 200, b"", b"x" * 40, 60)
    store.put(b"b", 200, b"", b"x" * 40, 60)
    assert store.get(b"a")
    store.put(b"c", 200, b"", b"x" * 40, 60)
    assert store.get(b"a")
    assert store.get(b"b") is None
    store.put(b"d", 200, b"", b"x" * 200, 60)
    assert store.get(b"d") is None
    assert store.bytes == 82
