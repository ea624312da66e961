"""Errors: in OpenAI's form on every path, with the status that says whose mistake it is."""

from __future__ import annotations

import httpx2
import openai
import pytest

from byom.catalog.snapshot import Retry
from byom.gateway import answers
from byom.testing import Behavior, FakeUpstream, Response
from byom.types.limits import Limits, Window
from byom.types.target import NetworkPolicy, Target
from tests.gateway.raw_upstream import RawUpstream
from tests.gateway.rig import MODEL, TOKEN, Rig, key, route_to, running, snapshot_of
from tests.gateway.wire import HELLO, body_of, post, wire

BOTH = pytest.mark.parametrize("server", ["own", "asgi"])
CHAT = body_of()
OWN = [
    ("GET", "/chat/completions", b"", 405, "method_not_allowed"),
    ("PUT", "/chat/completions", CHAT, 405, "method_not_allowed"),
    ("DELETE", "/embeddings", b"", 405, "method_not_allowed"),
    ("POST", "/models", b"{}", 405, "method_not_allowed"),
    ("DELETE", f"/models/{MODEL}", b"", 405, "method_not_allowed"),
    ("GET", "/models/nothing", b"", 404, "model_not_found"),
    ("GET", "/nothing/at/all", b"", 404, "not_found"),
    ("GET", "/", b"", 400, "invalid_request"),
    ("GET", "/../api/keys", b"", 400, "invalid_request"),
    ("GET", "/%2e%2e/api", b"", 400, "invalid_request"),
    ("GET", "/realtime", b"", 404, "not_found"),
    ("POST", "/chat/completions", b"{", 400, "invalid_json"),
    ("POST", "/chat/completions", b"", 400, "invalid_json"),
    ("POST", "/chat/completions", b"{}", 400, "missing_model"),
    ("POST", "/chat/completions", b'{"model":""}', 400, "missing_model"),
    ("POST", "/chat/completions", b'{"model":null}', 400, "missing_model"),
    ("POST", "/chat/completions", b'{"model":"nothing"}', 404, "model_not_found"),
    ("POST", "/embeddings", b'{"model":"nothing"}', 404, "model_not_found"),
    ("POST", "/audio/transcriptions", b"x", 400, "invalid_request"),
    ("POST", "/chat/completions/", CHAT, 400, "invalid_request"),
    ("POST", "/Chat/Completions", CHAT, 400, "invalid_request"),
    ("POST", "/%63hat/completions", CHAT, 400, "invalid_request"),
]


@BOTH
@pytest.mark.parametrize(("method", "path", "body", "status", "code"), OWN)
async def test_every_mistake_is_told_in_openais_form(
    rig: Rig, upstream: FakeUpstream, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    """gateway checklist 27"""
    async with wire(rig.port) as line:
        reply = await line.call(post(body, method=method, path=f"/v1{path}"))
    assert (reply.status, reply.error["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/json"
    assert len(reply.error["message"]) > 10
    assert not upstream.requests


@BOTH
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("sk-wrong", "invalid_api_key"),
        (TOKEN[:-1] + "x", "invalid_api_key"),
        (TOKEN.upper(), "invalid_api_key"),
        (TOKEN + "a", "invalid_api_key"),
        ("\xe4" * 54, "invalid_api_key"),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "models", "files", "nothing"])
async def test_without_a_valid_key_every_path_is_401(rig: Rig, token: str | None, code: str, path: str) -> None:
    """gateway checklist 27 and 66"""
    async with wire(rig.port) as line:
        reply = await line.call(post(CHAT, path=f"/v1/{path}", token=token))
    assert (reply.status, reply.error["code"], reply.error["type"]) == (401, code, "authentication_error")


@BOTH
@pytest.mark.parametrize(
    ("upstreams", "status", "code", "kind"),
    [
        (401, 502, "upstream_auth", "upstream_error"),
        (403, 502, "upstream_auth", "upstream_error"),
        (400, 400, "scripted", "invalid_request_error"),
        (404, 404, "scripted", "invalid_request_error"),
        (413, 413, "scripted", "invalid_request_error"),
        (422, 422, "scripted", "invalid_request_error"),
        (429, 429, "scripted", "invalid_request_error"),
        (500, 502, "upstream_error", "upstream_error"),
        (502, 502, "upstream_error", "upstream_error"),
        (503, 503, "upstream_overloaded", "upstream_error"),
        (529, 503, "upstream_overloaded", "upstream_error"),
        (504, 504, "upstream_timeout", "upstream_error"),
        (302, 502, "upstream_protocol", "upstream_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstreams_status_is_told_as_what_it_is_for_the_caller(
    rig: Rig,
    upstream: FakeUpstream,
    http: httpx2.AsyncClient,
    upstreams: int,
    status: int,
    code: str,
    kind: str,
    stream: bool,
) -> None:
    """gateway checklist 28"""
    rig.change_route(retry=Retry(attempts=1))
    body = None if upstreams >= 400 else b'{"a":1}'
    upstream.set_default(Behavior(status=upstreams, body=body))
    answer = await http.post("/chat/completions", content=body_of(stream=stream))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, code, kind)
    assert answer.headers["x-request-id"]
    (row,) = rig.rows
    assert (row.status, row.state, row.cost) == (status, "error", 0)


async def test_a_rejected_key_of_ours_is_never_told_to_the_caller(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 28 and 63"""
    rig.change_route(retry=Retry(attempts=1))
    for status in (400, 401, 403, 404, 429, 500, 503):
        upstream.enqueue(Behavior(status=status, error="The key up-key (Bearer up-key) is wrong."))
        answer = await http.post("/chat/completions", content=CHAT)
        assert "up-key" not in answer.text
        assert "up-key" not in repr(answer.headers)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail":"too long"}', "too long"),
        (b'{"detail":[{"loc":["body"],"msg":"bad"}]}', '[{"loc":["body"],"msg":"bad"}]'),
        (b'{"message":"no"}', "no"),
        (b'{"error":"plain"}', "plain"),
        (b'{"error":{"message":"half"}}', "half"),
        (b'{"error":{"message":null}}', '"message":null'),
        (b"<html><body><h1>Bad</h1> Request</body></html>", "Bad Request"),
        (b"", "HTTP 400"),
        (b"\xff\xfe", "\ufffd"),
        (b"[1]", "[1]"),
        (b"[" * 20000, "[["),
        (b"x" * 200_000, "xxx"),
    ],
)
async def test_an_upstreams_error_in_another_form_is_put_into_openais(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, body: bytes, message: str
) -> None:
    """gateway checklist 27 and 28"""
    upstream.set_default(Behavior(status=400, body=body))
    answer = await http.post("/chat/completions", content=CHAT)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert {"message", "type", "param", "code"} <= error.keys()
    assert message in error["message"]
    assert len(error["message"]) <= 500


async def test_an_error_in_openais_form_passes_as_it_came(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 28: the caller's own mistake"""
    body = b'{"error": {"message": "m", "type": "t", "param": "p", "code": "c", "inner": {"a": 1e2}}, "more": [1]}'
    upstream.set_default(Behavior(status=400, body=body))
    assert (await http.post("/chat/completions", content=CHAT)).content == body


async def test_sdk_errors_are_those_of_the_cause(rig: Rig, upstream: FakeUpstream, sdk: openai.AsyncOpenAI) -> None:
    """gateway checklist 28"""
    rig.change_route(retry=Retry(attempts=1))
    for status, kind in ((400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.APIStatusError)):
        upstream.enqueue(Behavior(status=status))
        with pytest.raises(kind):
            await sdk.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError, match="Did you mean 'mock-model'"):
        await sdk.chat.completions.create(model="mock-mdel", messages=HELLO)  # type: ignore[arg-type]


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_is_not_there_is_502(server: str, stream: bool) -> None:
    """gateway checklist 28"""
    async with FakeUpstream() as gone:
        route = route_to(gone, retry=Retry(attempts=1))
    async with running(snapshot_of(route), server=server) as rig:
        async with wire(rig.port) as line:
            reply = await line.call(post(body_of(stream=stream)))
        assert (reply.status, reply.error["code"]) == (502, "upstream_unreachable")
        assert "refused the connection" in reply.error["message"]
        assert reply.headers["x-should-retry"] == "false"


async def test_an_address_that_the_network_policy_forbids_is_403_and_gets_no_connection(upstream: FakeUpstream) -> None:
    """gateway checklist 59"""
    async with running(snapshot_of(route_to(upstream))) as rig:
        rig.swap(network=NetworkPolicy(allow_loopback=False))
        async with wire(rig.port) as line:
            reply = await line.call(post(CHAT))
        assert (reply.status, reply.error["code"]) == (403, "destination_denied")
    assert upstream.connections_accepted == 0


NOT_JSON = {
    "text": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nno",
    "cut": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"a"',
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type",
    "a length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "an error in a good answer": b'HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{"error":{"message":"bad"}}',
}


@pytest.mark.parametrize("answer", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_an_answer_that_is_none_is_502(answer: bytes) -> None:
    """gateway checklist 28"""
    async with (
        RawUpstream([answer], close=True) as raw,
        running(raw.snapshot(retry=Retry(attempts=1))) as rig,
        wire(rig.port) as line,
    ):
        reply = await line.call(post(CHAT))
        assert reply.status == 502
        assert reply.error["type"] == "upstream_error"
        assert rig.rows[0].state == "error"


@BOTH
async def test_own_429_and_503_say_when_to_try_again(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 29"""
    caller = key(limits=Limits(windows=(Window("requests", 1, 60.0),)))
    rig.swap(keys={caller.id: caller})
    await http.post("/chat/completions", content=CHAT)
    answer = await http.post("/chat/completions", content=CHAT)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 58 <= int(answer.headers["retry-after"]) <= 60
    assert 58_000 <= int(answer.headers["retry-after-ms"]) <= 60_000
    rig.change_route(target=Target(scheme="http", host="", port=0, base_path="/v1"), retry=Retry(attempts=1))
    rig.swap(keys={caller.id: key()})
    answer = await http.post("/chat/completions", content=CHAT)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@BOTH
@pytest.mark.parametrize(
    ("behavior", "seconds"),
    [
        (Behavior(status=429, retry_after=37), 37.0),
        (Behavior(status=429, retry_after_ms=36500), 36.5),
        (Behavior(status=429, retry_after=99, retry_after_ms=30000), 30.0),
        (Behavior(status=503, retry_after=40), 40.0),
    ],
)
async def test_an_upstreams_wish_when_to_try_again_passes(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, behavior: Behavior, seconds: float
) -> None:
    """gateway checklist 28"""
    upstream.set_default(behavior)
    answer = await http.post("/chat/completions", content=CHAT)
    assert answer.status_code == behavior.status
    assert int(answer.headers["retry-after-ms"]) == seconds * 1000
    assert len(upstream.requests) == 1, "longer than the gateway waits itself"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"retry-after", b"soon"),
        (b"retry-after", b""),
        (b"retry-after", b"9" * 400),
        (b"retry-after", "²".encode("latin-1")),
        (b"retry-after", b"Wed, 99 Foo 2015 07:28:00 GMT"),
        (b"retry-after-ms", b"inf"),
        (b"retry-after-ms", b"nan"),
        (b"retry-after-ms", b"1e999"),
    ],
)
async def test_a_senseless_wish_is_as_none(name: bytes, value: bytes) -> None:
    """gateway checklist 28"""
    assert answers.retry_after({name: value}) is None
    body = b'{"error":{"message":"m","type":"t","param":null,"code":null}}'
    head = b"HTTP/1.1 429 X\r\n%b: %b\r\nContent-Length: %d\r\n\r\n" % (name, value, len(body))
    async with RawUpstream([head + body]) as raw, running(raw.snapshot(retry=Retry(attempts=1))) as rig:
        async with wire(rig.port) as line:
            reply = await line.call(post(CHAT))
        assert reply.status == 429
        assert "retry-after" not in reply.headers


def test_a_date_is_a_wish_too() -> None:
    """gateway checklist 29"""
    assert answers.retry_after({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert (answers.retry_after({b"retry-after": b"Wed, 21 Oct 2099 07:28:00 GMT"}) or 0) > 10**6
    assert answers.retry_after({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 -0000"}) in (None, 0.0)


async def test_a_fault_of_the_hub_breaks_the_connection_and_holds_nothing(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 3: such as a full disk, on which no row can be written"""

    def full(row: object) -> None:
        raise OSError(28, "No space left on device")

    rig.gateway.record = full
    for _ in range(3):
        async with wire(rig.port) as line:
            await line.send(post(CHAT))
            assert await line.ended() == b""
    assert rig.settled()
    upstream.set_default(lambda request: Response(status=400, body=b"no"))
    async with wire(rig.port) as line:
        await line.send(post(CHAT))
        assert await line.ended() == b""
    assert rig.settled()
