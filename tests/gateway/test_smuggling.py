"""Requests that two servers could read in two ways are read in none."""

from __future__ import annotations

import pytest

from byom.testing import FakeUpstream
from tests.gateway.rig import OTHER_TOKEN, TOKEN, Rig
from tests.gateway.wire import body_of, chunked, post, wire

BODY = body_of()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CODING = b"Transfer-Encoding: chunked\r\n"
CHUNKS = chunked(BODY)

BAD = {
    "length and coding": HEAD + LENGTH + CODING + b"\r\n" + CHUNKS,
    "coding and length": HEAD + CODING + LENGTH + b"\r\n" + CHUNKS,
    "two lengths that differ": HEAD + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "the same length twice": HEAD + LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths": HEAD + b"Content-Length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY,
    "a length with a sign": HEAD + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length in hexadecimal": HEAD + b"Content-Length: 0x5d\r\n\r\n" + BODY,
    "a length with an underscore": HEAD + b"Content-Length: 1_0\r\n\r\n" + BODY,
    "a length that is folded": HEAD + b"Content-Length: 1\r\n 00\r\n\r\n" + BODY,
    "an endless length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY,
    "space before the colon": HEAD + b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY,
    "a folded header": HEAD + LENGTH + b"X-A: a\r\n b\r\n\r\n" + BODY,
    "bare line feeds": (HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY + b"\r\n\r\n",
    "one bare line feed": HEAD + b"X-A: a\nX-B: b\r\n" + LENGTH + b"\r\n" + BODY,
    "a bare carriage return": HEAD + b"X-A: a\rX-B: b\r\n" + LENGTH + b"\r\n" + BODY,
    "an end of the head with a bare line feed": HEAD + LENGTH + b"\n" + BODY + b"\r\n\r\n",
    "a zero byte": HEAD + b"X-A: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "two codings in two lines": HEAD + b"Transfer-Encoding: gzip\r\n" + CODING + b"\r\n" + CHUNKS,
    "two codings in one line": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "an empty coding in a list": HEAD + b"Transfer-Encoding: , chunked\r\n\r\n" + CHUNKS,
    "chunked twice": HEAD + CODING + CODING + b"\r\n" + CHUNKS,
    "the coding identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "a coding that is not one": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "a coding in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + CODING + b"\r\n" + CHUNKS,
    "a chunk size with a sign": HEAD + CODING + b"\r\n-1\r\na\r\n0\r\n\r\n",
    "a chunk size that overflows": HEAD + CODING + b"\r\nFFFFFFFFFFFFFFFFF\r\na\r\n0\r\n\r\n",
    "a chunk that is longer than it says": HEAD + CODING + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk size ended by a line feed": HEAD + CODING + b"\r\n1\na\r\n0\r\n\r\n",
    "two hosts": HEAD + b"Host: other\r\n" + LENGTH + b"\r\n" + BODY,
    "two keys": HEAD + b"Authorization: Bearer %b\r\n" % OTHER_TOKEN.encode() + LENGTH + b"\r\n" + BODY,
    "two content types": HEAD + b"Content-Type: a/b\r\nContent-Type: c/d\r\n" + LENGTH + b"\r\n" + BODY,
    "HTTP/2.0 in text": HEAD.replace(b"1.1", b"2.0") + LENGTH + b"\r\n" + BODY,
    "HTTP/0.9": b"POST /v1/chat/completions\r\n\r\n",
    "an unknown version": HEAD.replace(b"1.1", b"1.9") + LENGTH + b"\r\n" + BODY,
    "a space in the path": HEAD.replace(b"chat/completions", b"chat/completions x") + LENGTH + b"\r\n" + BODY,
    "a byte above 127 in the path": HEAD.replace(b"chat", b"ch\xc3\xa9t") + LENGTH + b"\r\n" + BODY,
    "WebSocket": HEAD.replace(b"POST", b"GET") + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", BAD.values(), ids=BAD.keys())
async def test_a_request_that_could_be_read_in_two_ways_is_refused_and_the_connection_closed(
    rig: Rig, upstream: FakeUpstream, request_bytes: bytes
) -> None:
    """gateway checklist 46"""
    async with wire(rig.port) as line:
        # With a good request behind it, as an attacker would hide one.
        await line.send(request_bytes + post(BODY))
        reply = await line.reply()
        assert reply.status == 400
        assert reply.error["type"] == "invalid_request_error"
        assert reply.headers["connection"] == "close"
        assert await line.ended() == b""
    assert not upstream.requests
    assert not rig.rows


@pytest.mark.parametrize("request_bytes", BAD.values(), ids=BAD.keys())
async def test_it_is_refused_just_the_same_behind_a_good_request_that_is_known(
    rig: Rig, upstream: FakeUpstream, request_bytes: bytes
) -> None:
    """gateway checklist 46: heads that were read before do not open a way in"""
    async with wire(rig.port) as line:
        for _ in range(2):
            assert (await line.call(post(BODY))).status == 200
        assert rig.listener.heads
        assert (await line.call(request_bytes)).status == 400
        assert await line.ended() == b""
    assert len(upstream.requests) == 2


async def test_trailers_change_nothing_of_a_head(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 46: a key, a length or an id behind the body is not read"""
    trailer = b"Authorization: Bearer %b\r\nx-request-id: other\r\nContent-Type: evil/evil\r\n" % OTHER_TOKEN.encode()
    head = post(b"", "Transfer-Encoding: chunked", "x-request-id: mine", "Content-Type: application/json", length=None)
    async with wire(rig.port) as line:
        reply = await line.call(head + chunked(BODY, trailer=trailer))
    assert reply.status == 200
    assert reply.headers["x-request-id"] == "mine"
    assert rig.rows[0].key == TOKEN[8:20]
    assert upstream.requests[0].header("content-type") == "application/json"
    assert upstream.requests[0].body == BODY


async def test_a_request_behind_a_chunked_one_does_not_mix_with_it(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 46"""
    first = post(b"", "Transfer-Encoding: chunked", "x-request-id: first", length=None) + chunked(BODY)
    second = post(body_of(n=2), "x-request-id: second", path="/v1/embeddings", token=OTHER_TOKEN)
    async with wire(rig.port) as line:
        reply = await line.call(first + second)
        assert reply.headers["x-request-id"] == "first"
        assert reply.headers["connection"] == "close"
        assert await line.ended() == b""
    (request,) = upstream.requests
    assert (request.path, request.body) == ("/v1/chat/completions", BODY)


async def test_requests_sent_ahead_are_answered_in_their_order(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 46: pipelining"""
    bodies = [body_of(user=f"user-{number}") for number in range(20)]
    async with wire(rig.port) as line:
        await line.send(b"".join(post(body, f"x-request-id: r{at}") for at, body in enumerate(bodies)))
        for at in range(20):
            assert (await line.reply()).headers["x-request-id"] == f"r{at}"
    assert [request.body for request in upstream.requests] == bodies


async def test_a_wrong_key_in_the_middle_of_requests_sent_ahead_stops_only_its_own(rig: Rig) -> None:
    """gateway checklist 46"""
    good, bad = post(BODY), post(BODY, token=OTHER_TOKEN)
    async with wire(rig.port) as line:
        await line.send(good + bad + good + bad + good)
        assert [(await line.reply()).status for _ in range(5)] == [200, 401, 200, 401, 200]


async def test_a_request_is_the_same_however_its_bytes_arrive(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 42: one byte at a time, head and body"""
    for request in (post(BODY), post(b"", "Transfer-Encoding: chunked", length=None) + chunked(BODY[:7], BODY[7:])):
        async with wire(rig.port) as line:
            for at in range(len(request)):
                await line.send(request[at : at + 1])
            assert (await line.reply()).status == 200
        assert upstream.requests[-1].body == BODY


@pytest.mark.parametrize("cut", [1, 4, 10, 40, 100, 150, 175, 200, 240])
async def test_a_known_head_that_arrives_in_two_pieces_is_read_as_before(
    rig: Rig, upstream: FakeUpstream, cut: int
) -> None:
    """gateway checklist 42"""
    request = post(BODY)
    async with wire(rig.port) as line:
        for _ in range(2):
            await line.call(request)
        await line.send(request[:cut])
        await line.send(request[cut:])
        assert (await line.reply()).status == 200
    assert [one.body for one in upstream.requests] == [BODY] * 3


async def test_empty_lines_before_a_request_are_skipped(rig: Rig) -> None:
    """gateway checklist 46: RFC 9112 section 2.2"""
    async with wire(rig.port) as line:
        for before in (b"\r\n", b"\r\n\r\n", b""):
            assert (await line.call(before + post(BODY))).status == 200


async def test_a_target_in_absolute_form_is_served(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 46: RFC 9112 section 3.2.2; the host in it decides nothing"""
    async with wire(rig.port) as line:
        reply = await line.call(post(BODY, path="http://evil.example/v1/chat/completions"))
    assert reply.status == 200
    assert upstream.requests[0].header("host") == f"127.0.0.1:{upstream.port}"


async def test_head_is_answered_without_a_body(rig: Rig) -> None:
    """gateway checklist 46: bytes after such an answer would be read as the next one"""
    async with wire(rig.port) as line:
        await line.send(post(b"", method="HEAD", path="/v1/models", length=None))
        reply = await line.reply(bodiless=True)
        assert reply.status == 200
        assert int(reply.headers["content-length"]) > 0
        assert (await line.call(post(BODY))).status == 200


async def test_an_offer_to_change_the_protocol_is_not_taken_up(rig: Rig) -> None:
    """gateway checklist 46: Java's clients offer HTTP/2 with their first request"""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA")
    async with wire(rig.port) as line:
        assert (await line.call(post(b"", *offer, method="GET", path="/v1/models", length=None))).status == 200
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY, *offer))).status == 200


async def test_http_1_0_gets_no_chunks(rig: Rig) -> None:
    """gateway checklist 46: an HTTP/1.0 client cannot read them; the end of the connection is the end of the answer"""
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of(stream=True), "Connection: keep-alive", version="1.0"))
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"
        assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_what_is_not_known_as_a_method_is_not_passed_on(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 44: TRACE would show the caller the key that is stored here"""
    for method in ("TRACE", "OPTIONS", "PROPFIND"):
        async with wire(rig.port) as line:
            reply = await line.call(post(b"", method=method, path="/v1/files", length=None))
        assert reply.status == 405
        assert reply.error["code"] == "method_not_allowed"
    assert not upstream.requests
