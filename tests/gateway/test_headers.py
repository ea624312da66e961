"""Which headers pass, which way, and which never do."""

from __future__ import annotations

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream
from tests.gateway.rig import MODEL, TOKEN, Rig, key, target_of
from tests.gateway.wire import body_of, post, wire

pytestmark = pytest.mark.parametrize("server", ["own", "asgi"])

NEVER = {
    "cookie": "session=secret",
    "forwarded": "for=1.2.3.4",
    "x-forwarded-for": "1.2.3.4",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "https",
    "x-real-ip": "1.2.3.4",
    "proxy-authorization": "Basic abc",
    "proxy-connection": "keep-alive",
    "te": "trailers",
    "x-custom": "1",
    "x-api-base": "http://evil.example",
    "referer": "http://a",
    "origin": "http://a",
    "range": "bytes=0-1",
    "if-none-match": "a",
}


async def test_only_listed_headers_of_a_request_pass(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 44"""
    passing = {"openai-beta": "a=b", "openai-organization": "org", "accept": "application/json", "tracestate": "a=1"}
    await http.post("/chat/completions", content=body_of(), headers=NEVER | passing | {"user-agent": "curl"})
    (request,) = upstream.requests
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(names))
    assert not set(names) & NEVER.keys()
    assert {name: request.header(name) for name in passing} == passing
    assert request.header("authorization") == "Bearer up-key"
    assert request.header("host") == f"127.0.0.1:{upstream.port}"
    assert (request.header("user-agent") or "").startswith("byom/")
    assert request.header("content-length") == str(len(request.body))
    assert TOKEN not in repr(request.headers)


async def test_headers_that_a_connection_names_do_not_pass(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 44: hop-by-hop"""
    async with wire(rig.port) as line:
        await line.call(post(body_of(), "Connection: keep-alive, X-Secret", "X-Secret: 1", "Keep-Alive: timeout=9"))
    assert upstream.requests[0].header("x-secret") is None
    assert upstream.requests[0].header("keep-alive") is None


@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["whole", "stream"])
async def test_nothing_but_the_answer_comes_back_from_the_upstream(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient, fields: dict[str, bool]
) -> None:
    """gateway checklist 44: upstreams have leaked a key in an answer's header"""
    told = {"x-api-key": "up-key", "openai-organization": "acme", "server": "nginx", "location": "/x", "via": "1.1 a"}
    upstream.set_default(Behavior(set_cookie="a=b", headers=told))
    for _ in range(3):
        answer = await http.post("/chat/completions", content=body_of(**fields))
        assert answer.status_code == 200
        known = {"content-type", "content-length", "transfer-encoding", "cache-control", "x-accel-buffering", "date"}
        own = {"server", "x-request-id", "x-byom-overhead-ms", "x-byom-cost"}
        assert set(answer.headers) <= known | own
        assert answer.headers.get("server", "byom") == "byom"


async def test_an_error_brings_no_headers_but_when_to_try_again(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 44"""
    upstream.set_default(Behavior(status=400, set_cookie="a=b", headers={"www-authenticate": "Basic"}))
    answer = await http.post("/chat/completions", content=body_of())
    assert answer.status_code == 400
    assert not {"set-cookie", "www-authenticate"} & set(answer.headers)


async def test_the_host_header_decides_nothing(rig: Rig, upstream: FakeUpstream) -> None:
    """gateway checklist 47"""
    for host in ("169.254.169.254", "evil.example", "localhost:1"):
        async with wire(rig.port) as line:
            request = post(body_of()).replace(b"Host: hub", b"Host: " + host.encode())
            assert (await line.call(request)).status == 200
    assert {request.header("host") for request in upstream.requests} == {f"127.0.0.1:{upstream.port}"}


async def test_a_request_id_is_taken_over_passed_on_and_given_back(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 90"""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await http.post(
        "/chat/completions", content=body_of(), headers={"x-request-id": "mine-1", "traceparent": trace}
    )
    assert answer.headers["x-request-id"] == "mine-1"
    assert upstream.requests[0].header("x-request-id") == "mine-1"
    assert upstream.requests[0].header("traceparent") == trace
    assert rig.rows[0].request_id == "mine-1"


async def test_a_request_without_an_id_gets_one(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 90"""
    first, second = [await http.post("/chat/completions", content=body_of()) for _ in range(2)]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert [row.id for row in rig.rows] == [first.headers["x-request-id"], second.headers["x-request-id"]]
    assert [one.header("x-request-id") for one in upstream.requests] == [row.id for row in rig.rows]


@pytest.mark.parametrize("value", ["", "a b", "ä", "x" * 129])
async def test_an_id_that_is_not_fit_for_logs_is_replaced(rig: Rig, value: str) -> None:
    """gateway checklist 90"""
    async with wire(rig.port) as line:
        reply = await line.call(post(body_of(), f"x-request-id: {value}"))
    assert reply.headers["x-request-id"].startswith("req_")


async def test_a_key_in_the_query_is_no_key(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 68"""
    for name in ("api_key", "key", "access_token"):
        answer = await http.post(f"/chat/completions?{name}={TOKEN}", content=body_of(), headers={"authorization": ""})
        assert answer.status_code == 401
    assert not upstream.requests


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
async def test_a_key_may_come_in_the_headers_that_clients_use(rig: Rig, name: str) -> None:
    """gateway checklist 66"""
    value = f"bearer {TOKEN}" if name == "authorization" else TOKEN
    async with wire(rig.port) as line:
        assert (await line.call(post(body_of(), f"{name}: {value}", token=None))).status == 200


async def test_a_body_cannot_send_the_call_elsewhere_or_with_another_key(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """gateway checklist 62"""
    async with FakeUpstream() as evil:
        fields = {
            "api_base": evil.base_url,
            "base_url": evil.base_url,
            "api_key": "sk-evil",
            "headers": {"authorization": "Bearer evil"},
            "extra_headers": {"host": "evil"},
            "custom_llm_provider": "evil",
            "fallbacks": ["evil"],
        }
        headers = {"x-api-base": evil.base_url, "x-byom-connection": "evil", "x-byom-model": "evil"}
        answer = await http.post("/chat/completions", content=body_of(**fields), headers=headers)
        assert answer.status_code == 200
        assert not evil.requests
    (request,) = upstream.requests
    assert request.header("authorization") == "Bearer up-key"
    assert request.model == MODEL


async def test_a_connections_own_headers_are_sent(rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient) -> None:
    """gateway checklist 44"""
    target = target_of(upstream, authorization=None, headers=(("api-key", "azure"), ("x-team", "a")))
    rig.change_route(target=target)
    await http.post("/chat/completions?api-version=2024-10-21", content=body_of())
    (request,) = upstream.requests
    assert (request.header("api-key"), request.header("x-team")) == ("azure", "a")
    assert request.header("authorization") is None
    assert request.query == "api-version=2024-10-21"


async def test_a_revoked_key_is_refused_from_the_next_call_on(rig: Rig, http: httpx2.AsyncClient) -> None:
    """gateway checklist 65"""
    assert (await http.post("/chat/completions", content=body_of())).status_code == 200
    rig.swap(keys={"other": key()})
    assert (await http.post("/chat/completions", content=body_of())).status_code == 401


async def test_code_that_serves_several_users_is_told_who_calls_and_nobody_else_is(
    rig: Rig, upstream: FakeUpstream, http: httpx2.AsyncClient
) -> None:
    """The header of the caller itself never passes: nobody speaks for another user."""
    forged = {"x-byom-user": "somebody-else"}
    assert (await http.post("/chat/completions", content=body_of(), headers=forged)).status_code == 200
    assert upstream.requests[-1].header("x-byom-user") is None
    rig.change_route(target=target_of(upstream, tell_user=True))
    assert (await http.post("/chat/completions", content=body_of(), headers=forged)).status_code == 200
    assert upstream.requests[-1].header("x-byom-user") == "user-abcdefghijkl"
