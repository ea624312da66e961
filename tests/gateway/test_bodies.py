"""Bodies: large, compressed, announced wrongly, in pieces."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import zlib

import httpx2
import pytest

from byom.catalog.snapshot import GatewaySettings
from byom.testing import Behavior, FakeUpstream
from tests.gateway.rig import MODEL, Rig, until
from tests.gateway.wire import Wire, body_of, chunked, post, wire

BODY = body_of()


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize("kind", ["image", "text"])
async def test_a_big_request_reaches_the_upstream_whole(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, kind: str
) -> None:
    """gateway checklist 41: a 20 MiB image, a prompt of a million characters"""
    image = base64.b64encode(bytes(range(256)) * (15 * 4096)).decode()
    content = (
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]
        if kind == "image"
        else "words " * 170_000
    )
    body = body_of(messages=[{"role": "user", "content": content}])
    answer = await http.post("/chat/completions", content=body)
    assert answer.status_code == 200
    assert hashlib.sha256(upstream.requests[0].body).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("server", ["own", "asgi"])
async def test_a_body_over_the_limit_is_refused_with_413_in_openais_form(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 41"""
    rig.swap(settings=GatewaySettings(max_body_bytes=100_000))
    async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False) as http:
        answer = await http.post("/chat/completions", content=body_of(user="x" * 100_000))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert answer.headers["x-request-id"]
    assert not upstream.requests


async def test_a_body_over_the_limit_is_refused_by_its_head_alone(rig: Rig) -> None:
    """gateway checklist 41: before one byte of it was sent"""
    async with wire(rig.port) as line:
        reply = await line.call(post(b"", length=10**9))
        assert reply.status == 413
        assert reply.error["code"] == "request_too_large"
        assert reply.headers["connection"] == "close"


async def test_chunks_over_the_limit_are_refused_as_soon_as_they_are_over_it(rig: Rig) -> None:
    """gateway checklist 41: nothing is buffered beyond the limit"""
    rig.swap(settings=GatewaySettings(max_body_bytes=100_000))
    async with wire(rig.port) as line:
        await line.send(post(b"", "Transfer-Encoding: chunked", length=None))
        for _ in range(12):
            await line.send(chunked(b" " * 10_000)[:-5])
        assert (await line.reply()).status == 413
        (connection,) = rig.listener.connections
        assert sum(map(len, connection._body)) + len(connection._buffer) == 0


async def test_a_large_body_without_a_valid_key_is_refused_before_it_is_read(rig: Rig) -> None:
    """gateway checklist 41 and 66"""
    for lines, length in (((), 100_000), (("Transfer-Encoding: chunked",), None)):
        async with wire(rig.port) as line:
            reply = await line.call(post(b"", *lines, token=None, length=length))
            assert (reply.status, reply.error["code"]) == (401, "missing_api_key")
    assert rig.gateway.figures.unauthorized == 2


async def test_the_rest_of_a_refused_body_is_thrown_away_up_to_a_bound(rig: Rig) -> None:
    """gateway checklist 42: the caller can read the refusal although it is still sending"""
    async with wire(rig.port) as line:
        await line.send(post(b" " * 500_000, length=10**9))
        assert (await line.reply()).status == 413
        with pytest.raises(ConnectionError):
            await _send_for_ever(line)


async def _send_for_ever(line: Wire) -> None:
    async with asyncio.timeout(5):
        while True:
            await line.send(b" " * 100_000)


async def test_100_continue_is_said_before_the_body_and_not_to_those_who_are_refused(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """gateway checklist 42"""
    async with wire(rig.port) as line:
        await line.send(post(b"", "Expect: 100-continue", length=len(BODY)))
        assert (await line.line()).startswith(b"HTTP/1.1 100 Continue")
        await line.send(BODY)
        assert (await line.reply()).status == 200
        await line.send(post(b"", "Expect: 100-continue", length=10**9))
        assert (await line.reply()).status == 413
    async with wire(rig.port) as line:
        await line.send(post(b"", "Expect: 100-continue", length=10**6, token=None))
        assert (await line.reply()).status == 401
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("server", ["own", "asgi"])
async def test_a_chunked_upload_arrives_whole(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 42"""
    body = body_of(user="x" * 300_000)

    async def pieces():  # type: ignore[no-untyped-def]
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    assert (await http.post("/chat/completions", content=pieces())).status_code == 200
    assert upstream.requests[0].body == body


async def test_a_body_shorter_than_announced_waits_and_one_that_never_comes_is_given_up(rig: Rig) -> None:
    """gateway checklist 42"""
    async with wire(rig.port) as line:
        await line.send(post(BODY[:-1], length=len(BODY)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await line.line()
        (connection,) = rig.listener.connections
        started = connection.idle_since
        connection.expire(started + 59, idle=120, reading=60)
        assert rig.listener.connections
        connection.expire(started + 61, idle=120, reading=60)
        with contextlib.suppress(ConnectionError):
            assert await line.ended() == b""
    assert not rig.rows


async def test_a_long_idle_connection_may_still_send_a_slow_body(rig: Rig) -> None:
    """gateway checklist 35: the time of a request counts from its own first byte"""
    body = body_of(user="x" * 200_000)
    async with wire(rig.port) as line:
        assert (await line.call(post(BODY))).status == 200
        (connection,) = rig.listener.connections
        connection.idle_since -= 100
        request = post(body)
        await line.send(request[:-10])
        await until(lambda: connection._head is not None)
        connection.expire(rig.listener.now(), idle=120, reading=60)
        await line.send(request[-10:])
        assert (await line.reply()).status == 200
        connection.idle_since -= 100
        await line.send(post(BODY)[:20])
        await until(lambda: bool(connection._buffer))
        connection.expire(rig.listener.now(), idle=120, reading=60)
        await line.send(post(BODY)[20:])
        assert (await line.reply()).status == 200


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_body_is_unpacked_once_and_sent_plain(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, name: str, pack: object
) -> None:
    """gateway checklist 42 and 45"""
    packed = pack(BODY)  # type: ignore[operator]
    for _ in range(2):
        answer = await http.post("/chat/completions", content=packed, headers={"content-encoding": name})
        assert answer.status_code == 200
    for request in upstream.requests:
        assert request.body == BODY
        assert request.header("content-encoding") is None


BROKEN = {
    "not gzip": ("gzip", BODY),
    "cut": ("gzip", gzip.compress(BODY)[:-9]),
    "wrong sum": ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
    "something behind it": ("gzip", gzip.compress(BODY) + b"more"),
    "a second part": ("gzip", gzip.compress(BODY) + gzip.compress(BODY)),
    "empty": ("gzip", b""),
    "an unknown coding": ("br", BODY),
    "packed twice": ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
}


@pytest.mark.parametrize(("name", "body"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_body_that_does_not_unpack_is_the_callers_mistake(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, name: str, body: bytes
) -> None:
    """gateway checklist 42"""
    answer = await http.post("/chat/completions", content=body, headers={"content-encoding": name})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert not upstream.requests


@pytest.mark.parametrize("server", ["own", "asgi"])
async def test_a_bomb_is_never_unpacked_beyond_the_limit(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 42"""
    rig.swap(settings=GatewaySettings(max_body_bytes=1_000_000))
    bomb = gzip.compress(b" " * 100_000_000)
    async with httpx2.AsyncClient(base_url=rig.url, headers=rig.headers, trust_env=False) as http:
        answer = await http.post("/chat/completions", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert not upstream.requests


@pytest.mark.parametrize("server", ["own", "asgi"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_compressed_against_our_wish_is_decoded_once(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, stream: bool
) -> None:
    """gateway checklist 45"""
    upstream.set_default(Behavior(text="Hello there", gzip=True))
    for _ in range(2):
        answer = await http.post("/chat/completions", content=body_of(stream=stream))
        assert "content-encoding" not in answer.headers
        text = (
            answer.text
            if not stream
            else "".join(
                json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                for line in answer.text.splitlines()
                if line.startswith("data: {")
            )
        )
        assert "Hello there" in text
    assert upstream.requests[0].header("accept-encoding") == "identity"


async def test_a_form_with_a_file_arrives_whole(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 41"""
    audio = bytes(range(256)) * 8000
    rig.change_route(upstream_model="whisper-9000")
    answer = await http.post("/audio/transcriptions", data={"model": MODEL}, files={"file": ("a.wav", audio)})
    assert answer.json()["text"] == f"audio of {len(audio)} bytes"
    assert b"whisper-9000" in upstream.requests[0].body
    assert MODEL.encode() not in upstream.requests[0].body


def form(*parts: bytes, end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b" + end


NAMED = b'Content-Disposition: form-data; name="model"\r\n\r\n' + MODEL.encode()
OTHER = NAMED.replace(MODEL.encode(), b"forbidden")
FORMS = {
    "no model": form(b'Content-Disposition: form-data; name="file"\r\n\r\nx'),
    "two models": form(NAMED, OTHER),
    "another spelling": form(NAMED, OTHER.replace(b'"model"', b'"Model"')),
    "a name without quotation marks": form(NAMED, OTHER.replace(b'"model"', b"model")),
    "a name with an escape": form(NAMED, OTHER.replace(b"model", b"mo\\del")),
    "an extended name": form(NAMED, OTHER.replace(b'name="model"', b"name*=utf-8''model")),
    "two names": form(NAMED, OTHER.replace(b'name="model"', b'name="a"; name="model"')),
    "a folded head": form(NAMED, OTHER.replace(b"; name", b";\r\n name")),
    "something before it": b"\r\n" + form(NAMED),
    "something behind it": form(NAMED) + form(OTHER),
    "no end": form(NAMED, end=b""),
    "a part without a head": form(NAMED, b"x"),
    "no boundary": NAMED,
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
async def test_a_form_that_could_name_two_models_is_refused(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, body: bytes
) -> None:
    """gateway checklist 54: a caller cannot show the gateway one model and the upstream another"""
    kind = {"content-type": "multipart/form-data; boundary=b"}
    assert (await http.post("/audio/transcriptions", content=form(NAMED), headers=kind)).status_code == 200
    upstream.requests.clear()
    answer = await http.post("/audio/transcriptions", content=body, headers=kind)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert not upstream.requests


async def test_what_looks_like_a_field_inside_a_file_is_a_part_of_the_file(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 54"""
    kind = {"content-type": 'multipart/form-data; boundary="b"'}
    file = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n\r\n' + OTHER
    rig.change_route(upstream_model="renamed")
    answer = await http.post("/audio/transcriptions", content=form(file, NAMED), headers=kind)
    assert answer.status_code == 200
    assert upstream.requests[0].body == form(file, NAMED.replace(MODEL.encode(), b"renamed"))
