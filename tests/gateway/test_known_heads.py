"""Heads that were read before are not read again. Nothing that a caller can see may differ by it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byom.gateway.http import listener as listeners
from byom.gateway.http import pool as pools
from byom.server.origins import check_origin
from byom.testing import FakeUpstream, RecordedRequest, Response
from tests.gateway.raw_upstream import RawUpstream
from tests.gateway.rig import OTHER_TOKEN, TOKEN, Rig, key, route_to, running, snapshot_of
from tests.gateway.wire import Reply, body_of, chunked, post, wire

BODY = body_of()


async def warm(rig: Rig, request: bytes = b"") -> None:
    """Send a request until its head is known."""
    async with wire(rig.port) as line:
        for _ in range(2):
            await line.call(request or post(BODY))
    assert rig.listener.heads


async def test_a_head_is_known_after_its_first_request(rig: Rig) -> None:
    """gateway checklist 37"""
    await warm(rig)
    assert len(rig.listener.heads) == 1
    async with wire(rig.port) as line:
        assert (await line.call(post(body_of(user="of another length")))).status == 200
    assert len(rig.listener.heads) == 1


async def test_a_key_that_is_revoked_between_two_equal_requests_of_one_connection_is_refused(rig: Rig) -> None:
    """gateway checklist 65"""
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY))).status == 200
        assert (await line.call(post(BODY))).status == 200
        keys = rig.gateway.snapshot.keys
        rig.swap(keys={})
        for _ in range(2):
            reply = await line.call(post(BODY))
            assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
        rig.swap(keys=keys)
        assert (await line.call(post(BODY))).status == 200


async def test_a_key_that_expires_between_two_equal_requests_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gateway checklist 65"""
    now = [time.time()]
    monkeypatch.setattr("byom.catalog.keys.time", SimpleNamespace(time=lambda: now[0]))
    caller = key(expires_at=now[0] + 60)
    rig.swap(keys={caller.id: caller})
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY))).status == 200
        now[0] += 59
        assert (await line.call(post(BODY))).status == 200
        now[0] += 1
        reply = await line.call(post(BODY))
        assert (reply.status, reply.error["code"]) == (401, "expired_api_key")


async def test_a_permission_that_is_taken_away_counts_for_the_next_equal_request(rig: Rig) -> None:
    """gateway checklist 65"""
    await warm(rig)
    rig.swap(keys={TOKEN[8:20]: key(models=frozenset({"another"}))})
    async with wire(rig.port) as line:
        reply = await line.call(post(BODY))
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


async def test_a_smaller_limit_of_the_body_counts_for_the_next_equal_head(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 41"""
    await warm(rig)
    rig.swap(settings=type(rig.gateway.snapshot.settings)(max_body_bytes=200))
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of(user="x" * 300)))
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("changed", range(0, len(post()), 3))
async def test_a_head_that_differs_in_one_byte_is_another_one(rig: Rig, changed: int) -> None:
    """gateway checklist 46"""
    request = bytearray(post(BODY))
    request[changed] = ord("~") if request[changed] != ord("~") else ord("!")
    for patience in (0.3, 5.0):  # on a busy machine an answer may take longer than one that never comes is waited for
        await warm(rig)
        async with wire(rig.port) as line:
            known = await _reply_or_end(line, bytes(request), patience)
        rig.listener.heads.clear()
        async with wire(rig.port) as line:
            fresh = await _reply_or_end(line, bytes(request), patience)
        if known == fresh:
            return
    assert known == fresh


async def _reply_or_end(line: Any, request: bytes, patience: float) -> tuple[int, str] | None:
    await line.send(request)
    try:
        async with asyncio.timeout(patience):
            return _seen(await line.reply())
    except (TimeoutError, asyncio.IncompleteReadError):
        return None  # It waits for more.


def _seen(reply: Reply) -> tuple[int, str]:
    return reply.status, str(reply.json().get("error", {}).get("code", ""))


@pytest.mark.parametrize(
    "lines",
    [
        ("Expect: 100-continue",),
        ("Connection: close",),
        ("x-request-id: a",),
        ("Idempotency-Key: a",),
        ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
        ("X-Length: content-length: 5",),
        ("X-A: " + "a" * 5000,),
    ],
    ids=lambda lines: lines[0][:20],
)
async def test_a_head_that_belongs_to_one_call_or_could_mislead_is_not_kept(rig: Rig, lines: tuple[str, ...]) -> None:
    """gateway checklist 46"""
    async with wire(rig.port) as line:
        await line.send(post(BODY, *lines))
        if lines[0].startswith("Expect"):
            assert (await line.line()).startswith(b"HTTP/1.1 100")
        assert (await line.reply()).status == 200
    assert not rig.listener.heads


async def test_a_chunked_request_and_one_without_a_length_are_not_kept(rig: Rig) -> None:
    """gateway checklist 46"""
    async with wire(rig.port) as line:
        await line.call(post(b"", method="GET", path="/v1/models", length=None))
        await line.call(post(b"", "Transfer-Encoding: chunked", length=None) + chunked(BODY))
    assert not rig.listener.heads


async def test_a_length_in_the_value_of_another_header_is_not_taken_for_the_bodys(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """gateway checklist 46"""
    await warm(rig)
    for value in ("Content-Length: 3", "a, Content-Length: 3", "\tContent-Length: 3"):
        async with wire(rig.port) as line:
            for _ in range(3):
                assert (await line.call(post(BODY, f"X-A:{value}"))).status == 200
    assert {request.body for request in upstream.requests} == {BODY}


async def test_the_host_is_checked_for_each_head_that_is_another_one(upstream: FakeUpstream) -> None:
    """gateway checklist 47"""
    async with running(snapshot_of(route_to(upstream))) as rig:
        rig.listener.check_origin = lambda host, origin: check_origin(frozenset({"hub"}), host, origin)
        await warm(rig)
        async with wire(rig.port) as line:
            reply = await line.call(post(BODY).replace(b"Host: hub", b"Host: bad"))
            assert (reply.status, reply.error["code"]) == (403, "host_not_allowed")
        async with wire(rig.port) as line:
            reply = await line.call(post(BODY, "Origin: https://evil.example"))
            assert (reply.status, reply.error["code"]) == (403, "origin_not_allowed")
    assert len(upstream.requests) == 2


async def test_a_flood_of_heads_is_kept_within_bounds_and_answered(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """gateway checklist 86"""
    monkeypatch.setattr(listeners, "MAX_KEPT_HEADS", 16)
    async with wire(rig.port) as line:
        for number in range(60):
            assert (await line.call(post(BODY, f"X-Number: {number}"))).status == 200
            assert len(rig.listener.heads) <= 16


async def test_a_catalog_that_was_swapped_is_not_held_by_known_heads(rig: Rig) -> None:
    """gateway checklist 86: thousands of heads would hold thousands of catalogs"""
    await warm(rig)
    rig.change_route(version=9)
    rig.listener._tick()
    assert not rig.listener.heads


PIECES = st.sampled_from(
    [
        post(BODY),
        post(BODY, token=OTHER_TOKEN),
        post(BODY, token=None),
        post(body_of(user="another length")),
        post(BODY[:-1]),
        post(BODY, length=len(BODY) + 3) + b"\r\n ",
        post(BODY, length=f"0{len(BODY)}"),
        post(BODY, length=f"{len(BODY)} "),
        post(BODY, length=f" {len(BODY)}"),
        post(BODY, "X-A: \r"),
        post(BODY, "content-length: 3"),
        post(BODY, "X-A: Content-Length: 3"),
        post(BODY, "Transfer-Encoding: chunked"),
        post(BODY, path="/v1/chat/completions?a=b"),
        post(BODY, path="/v1/embeddings"),
        post(BODY).replace(b"Content-Length", b"content-length"),
        post(BODY).replace(b"Content-Length: ", b"Content-Length:"),
        post(BODY).replace(b"Content-Length: ", b"Content-Length:\t"),
        post(BODY).replace(b"Content-Length", b"CONTENT-LENGTH"),
        post(b"", method="GET", path="/v1/models", length=None),
        post(b"{}"),
        b"\r\n" + post(BODY),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, min_size=2, max_size=8), st.booleans())
async def test_a_connection_is_answered_alike_whether_heads_are_known_or_not(
    rig: Rig, upstream: FakeUpstream, pieces: list[bytes], at_once: bool
) -> None:
    """gateway checklist 46"""
    rig.listener.heads.clear()
    slow = await _conversation(rig, upstream, pieces, at_once=False, forget=True)
    fast = await _conversation(rig, upstream, pieces, at_once=False, forget=False)
    again = await _conversation(rig, upstream, pieces, at_once=at_once, forget=False)
    assert slow == fast == again


async def _conversation(
    rig: Rig, upstream: FakeUpstream, pieces: list[bytes], *, at_once: bool, forget: bool
) -> tuple[list[tuple[int, str]], list[tuple[str, bytes]]]:
    """What was answered up to the first refusal that closes, and what reached the upstream for it."""
    upstream.requests.clear()
    upstream.forget()
    seen: list[tuple[int, str]] = []
    async with wire(rig.port) as line:
        if at_once:
            await line.send(b"".join(pieces))
        for piece in pieces:
            if forget:
                rig.listener.heads.clear()
            reply = await line.call(b"" if at_once else piece)
            seen.append(_seen(reply))
            if reply.headers.get("connection") == "close":
                break
    return seen, [(request.target, request.body) for request in upstream.requests]


# -- the upstream's heads


def plain(body: bytes, *lines: str) -> bytes:
    head = ["HTTP/1.1 200 OK", "Content-Type: application/json", *lines, f"Content-Length: {len(body)}"]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


ANSWER = b'{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'


async def ask(rig: Rig, count: int = 1) -> list[Reply]:
    async with wire(rig.port) as line:
        return [await line.call(post(BODY)) for _ in range(count)]


async def test_an_interim_answer_is_never_taken_for_a_known_head() -> None:
    """gateway checklist 42"""
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    longer = plain(ANSWER)
    # The second time, everything after the interim head is as long as the first time's body was.
    first = ANSWER + b" " * (len(longer) - len(ANSWER))
    async with RawUpstream([interim + plain(first), interim + longer]) as raw, running(raw.snapshot()) as rig:
        replies = await ask(rig, 2)
        assert [reply.body for reply in replies] == [first, ANSWER]


async def test_a_head_cut_in_its_last_line_end_is_not_taken_for_a_known_one() -> None:
    """gateway checklist 42"""
    odd = plain(b'{"id":"' + b"b" * 200 + b'"}')
    async with RawUpstream([odd, odd]) as raw, running(raw.snapshot()) as rig:
        await ask(rig)
        (known,) = raw.pool(rig).heads
        size = len(known) + 2
        value = b'{"id":"' + b"b" * (size - 9) + b'"}'
        answer = plain(value)
        raw.answers[:] = [answer, [answer[: answer.index(b"\r\n\r\n") + 1], answer[answer.index(b"\r\n\r\n") + 1 :]]]
        replies = await ask(rig, 2)
        assert [reply.body for reply in replies] == [value, value]


async def test_an_answer_with_a_known_head_and_another_length_of_body_is_read_as_any_other() -> None:
    """gateway checklist 42"""
    good = plain(ANSWER)
    async with RawUpstream([good, good, [good[:-5], good[-5:]], good + b"HTTP", good]) as raw:
        async with running(raw.snapshot()) as rig:
            assert [reply.body for reply in await ask(rig, 5)] == [ANSWER] * 5
        assert raw.accepted == 2, "a connection with something behind its answer is not used again"


async def test_a_second_answer_behind_the_first_one_is_never_given_to_anybody() -> None:
    """gateway checklist 46: response splitting"""
    good, evil = plain(ANSWER), plain(b'{"id":"evil"}', "X-Evil: 1")
    async with RawUpstream([good + evil, good, good + evil + evil, good]) as raw, running(raw.snapshot()) as rig:
        assert [reply.body for reply in await ask(rig, 4)] == [ANSWER] * 4
        assert raw.accepted >= 3


async def test_the_upstreams_known_heads_are_kept_within_bounds(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 86"""

    def numbered(request: RecordedRequest) -> Response:
        return Response(body=ANSWER, headers={"X-Number": str(request.number)})

    upstream.set_default(numbered)
    await ask(rig, 70)
    (known,) = [one.pool.heads for one in rig.gateway._upstreams.values()]
    assert 0 < len(known) <= pools.MAX_KEPT_HEADS
