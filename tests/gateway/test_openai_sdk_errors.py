"""What the unchanged openai package raises, and what it cancels, on both servers."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import openai
import pytest

from byom.catalog.snapshot import Retry
from byom.testing import Behavior, FakeUpstream
from byom.types.target import Target, Timeouts
from tests.gateway.openai_client import AnyClient, chat
from tests.gateway.rig import MODEL, TOKEN, Rig, route_to, running, snapshot_of
from tests.gateway.streams import BOTH_SERVERS, HELLO

pytestmark = pytest.mark.parametrize("server", BOTH_SERVERS)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (413, openai.APIStatusError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_an_error_of_the_upstream_raises_the_class_that_belongs_to_it(
    rig: Rig, upstream: FakeUpstream, client: AnyClient, status: int, raised: type[openai.APIStatusError], stream: bool
) -> None:
    """gateway checklist 27, 28."""
    rig.change_route(retry=_no_retry())
    upstream.set_default(Behavior(status=status, error={"message": "It went wrong.", "code": "odd"}))
    with pytest.raises(raised, match="went wrong") as caught:
        await chat(client, stream=stream)
    assert caught.value.status_code == (502 if status == 500 else status)
    assert caught.value.request_id
    assert caught.value.type
    assert rig.rows[0].state == "error"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_rejected_key_of_the_connection_is_not_the_callers_fault(
    upstream: FakeUpstream, client: AnyClient, status: int
) -> None:
    """gateway checklist 28."""
    upstream.set_default(Behavior(status=status, error="up-key is not valid"))
    with pytest.raises(openai.InternalServerError) as caught:
        await chat(client)
    assert caught.value.code == "upstream_auth"
    assert "up-key" not in str(caught.value)


async def test_a_key_that_is_not_valid_raises_an_authentication_error(rig: Rig, client: AnyClient) -> None:
    """gateway checklist 27."""
    for wrong in (TOKEN[:-1] + "b", "nonsense"):
        with pytest.raises(openai.AuthenticationError):
            await chat(client, extra_headers={"authorization": f"Bearer {wrong}"})
    assert rig.rows == []


async def test_a_model_that_is_not_there_raises_not_found(client: AnyClient) -> None:
    """gateway checklist 27, 89."""
    with pytest.raises(openai.NotFoundError) as caught:
        await chat(client, model="mock-modl")
    assert caught.value.code == "model_not_found"
    assert "mock-model" in str(caught.value)


async def test_an_upstream_that_is_down_raises_a_server_error(rig: Rig, client: AnyClient) -> None:
    """gateway checklist 28."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        route = rig.gateway.snapshot.routes[MODEL]
        rig.change_route(
            target=_at_port(route.target, unused.getsockname()[1]), connection_id="down", retry=_no_retry()
        )
        with pytest.raises(openai.InternalServerError) as caught:
            await chat(client)
    assert caught.value.code == "upstream_unreachable"


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_time_out_of_the_upstream_raises_a_server_error(
    upstream: FakeUpstream, server: str, kind: str, stream: bool
) -> None:
    """gateway checklist 28, 34."""
    upstream.set_default(Behavior(hang=True))
    route = route_to(upstream, timeouts=Timeouts(first_byte=0.2), retry=_no_retry())
    async with running(snapshot_of(route), server=server) as rig:
        client = AnyClient(rig, kind)
        with pytest.raises(openai.InternalServerError) as caught:
            await chat(client, stream=stream)
        await client.close()
    assert caught.value.status_code == 504
    assert caught.value.code == "upstream_timeout"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_time_out_of_the_caller_cancels_the_upstream(
    rig: Rig, upstream: FakeUpstream, kind: str, stream: bool
) -> None:
    """gateway checklist 1, 2."""
    upstream.set_default(Behavior(hang=True))
    client = AnyClient(rig, kind, timeout=1.0)
    with pytest.raises(openai.APITimeoutError):
        await chat(client, stream=stream)
    await upstream.wait_for_disconnect()
    assert (await rig.wait_for_rows(1))[0].state == "cancelled"
    await client.close()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_gateway_that_is_not_there_raises_a_connection_error(rig: Rig, kind: str) -> None:
    """gateway checklist 28: what the caller sees when the hub itself is down."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = AnyClient(rig, kind, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        with pytest.raises(openai.APIConnectionError):
            await chat(client)
        await client.close()


async def test_a_stream_that_breaks_raises(upstream: FakeUpstream, client: AnyClient) -> None:
    """gateway checklist 14: a truncated stream is never taken for a whole one."""
    upstream.set_default(Behavior(text="one two three four", cut_after_chunks=2))
    with pytest.raises(openai.APIError, match="broke the connection"):
        await chat(client, stream=True)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_stream_that_is_closed_half_way_is_cancelled(rig: Rig, upstream: FakeUpstream, kind: str) -> None:
    """gateway checklist 1, 3."""
    upstream.set_default(Behavior(tokens=("a", "b", "c"), hang_after_chunks=2))
    fields: dict[str, Any] = {"model": MODEL, "messages": HELLO, "stream": True}
    if kind == "async":
        async with (
            openai.AsyncOpenAI(base_url=rig.url, api_key=TOKEN) as client,
            await client.chat.completions.create(**fields) as stream,
        ):
            async for one in stream:
                if one.choices[0].delta.content == "b":
                    break
    else:
        await asyncio.to_thread(_close_half_way, rig.url, fields)
    await upstream.wait_for_disconnect(2.0)
    (row,) = await rig.wait_for_rows(1)
    assert row.state == "cancelled"
    assert row.completion_tokens >= 2


def _close_half_way(url: str, fields: dict[str, Any]) -> None:
    with openai.OpenAI(base_url=url, api_key=TOKEN) as client, client.chat.completions.create(**fields) as stream:
        for one in stream:
            if one.choices[0].delta.content == "b":
                return


async def test_a_silent_stream_is_read_through_its_comments(upstream: FakeUpstream, server: str) -> None:
    """gateway checklist 6."""
    upstream.set_default(Behavior(tokens=("a", "b"), silent=1.6, silent_after_chunks=1))
    snapshot = snapshot_of(route_to(upstream), keepalive_seconds=0.2)
    async with running(snapshot, server=server) as rig:
        for kind in ("async", "sync"):
            client = AnyClient(rig, kind, timeout=1.4)
            chunks = await chat(client, stream=True)
            assert "".join(one.choices[0].delta.content or "" for one in chunks) == "ab"
            await client.close()


def _no_retry() -> Retry:
    return Retry(attempts=1)


def _at_port(target: Target, port: int) -> Target:
    return msgspec.structs.replace(target, port=port)
