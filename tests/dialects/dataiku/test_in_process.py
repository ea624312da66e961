"""The dialect in front of a hub in this process: callers who leave, and hubs without keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.catalog.forms import ModelForm
from byom.server.dialects.dataiku import create
from byom.server.hub import Hub
from byom.server.in_process import StreamingASGITransport
from byom.settings import Settings
from byom.testing import Behavior, FakeUpstream

COMPLETIONS = "/dip/publicapi/projects/P/llms/completions"
STREAM = "/dip/publicapi/projects/P/llms/streamed-completion"
MESSAGES = {"messages": [{"role": "user", "content": "Hi"}]}


@contextlib.asynccontextmanager
async def dialect(home: Path, upstream: FakeUpstream, *, no_auth: bool = True) -> AsyncIterator[httpx2.AsyncClient]:
    async with Hub.session(Settings(home=home, no_auth=no_auth)) as hub:
        await hub.catalog.connections.create({"name": "box", "url": upstream.base_url}, actor="test")
        await hub.catalog.models.create_many([ModelForm(name="chat", connection="box")], actor="test")
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(create(hub)), base_url="http://127.0.0.1", timeout=None
        ) as http:
            yield http


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(models=("chat",)) as fake:
        yield fake


def query(*, count: int = 1) -> dict[str, Any]:
    return {"llmId": "chat", "queries": [MESSAGES] * count, "settings": {}}


async def test_a_hub_without_keys_serves_whoever_asks(tmp_path: Path, upstream: FakeUpstream) -> None:
    async with dialect(tmp_path, upstream) as http:
        for headers in ({}, {"authorization": "Basic bm8ta2V5Og=="}):
            answer = await http.post(COMPLETIONS, json=query(), headers=headers)
            assert answer.json()["responses"][0]["ok"] is True
        info = (await http.get("/public/api/auth/info")).json()
        assert info["groups"] == ["administrators"]
        user = (await http.get("/dip/publicapi/current-user")).json()
        assert (await http.put("/dip/publicapi/current-user", json=user)).json() == user


async def test_a_caller_who_leaves_stops_every_query(tmp_path: Path, upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(hang=True))
    async with dialect(tmp_path, upstream) as http:
        asking = asyncio.create_task(http.post(COMPLETIONS, json=query(count=5)))
        await upstream.wait_for_requests(5)
        asking.cancel()
        await upstream.wait_for_disconnect(count=5)
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        assert upstream.open_requests == 0


async def test_a_caller_who_leaves_before_the_first_event_stops_the_stream(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    upstream.set_default(Behavior(hang_after_chunks=0))
    async with dialect(tmp_path, upstream) as http:
        body = {"llmId": "chat", "query": MESSAGES}
        asking = asyncio.create_task(http.post(STREAM, json=body))
        await upstream.wait_for_requests(1)
        asking.cancel()
        await upstream.wait_for_disconnect()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def test_a_stream_that_breaks_off_breaks_the_connection_for_clients_that_know_no_event_for_it(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    upstream.set_default(Behavior(chunks=9, cut_after_chunks=3))
    async with dialect(tmp_path, upstream) as http:
        body = {"llmId": "chat", "query": MESSAGES}
        with pytest.raises(httpx2.TransportError):
            await http.post(STREAM, json=body)
        answer = await http.post(STREAM, json=body | {"emitErrorChunk": True})
        last = answer.text.strip().split("\n\n")[-1]
        assert last.startswith("event: error-chunk\n")
        assert "errorMessage" in last


async def test_a_stream_that_fails_before_its_first_word_is_an_error_answer(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """Servers begin with an event that names the role alone."""
    upstream.set_default(Behavior(chunks=9, error_after_chunks=0))
    async with dialect(tmp_path, upstream) as http:
        answer = await http.post(STREAM, json={"llmId": "chat", "query": MESSAGES})
        assert (answer.status_code, answer.json()["errorType"]) == (502, "engine_error")


@pytest.mark.parametrize("malformed", ["not_json", "wrong_shape", "html", "empty", "truncated_json"])
async def test_an_answer_that_is_none_is_the_error_of_the_query(
    tmp_path: Path, upstream: FakeUpstream, malformed: Any
) -> None:
    upstream.set_default(Behavior(malformed=malformed))
    async with dialect(tmp_path, upstream) as http:
        response = (await http.post(COMPLETIONS, json=query())).json()["responses"][0]
        assert response["ok"] is False
        assert response["errorMessage"]
        answer = await http.post(STREAM, json={"llmId": "chat", "query": MESSAGES})
        assert answer.status_code >= 500
        assert answer.json()["errorType"]


async def test_events_that_are_none_are_an_error(tmp_path: Path, upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(malformed="bad_sse"))
    async with dialect(tmp_path, upstream) as http:
        answer = await http.post(STREAM, json={"llmId": "chat", "query": MESSAGES, "emitErrorChunk": True})
        assert "errorType" in answer.text


async def test_a_key_is_needed_before_a_body_is_read(tmp_path: Path, upstream: FakeUpstream) -> None:
    async with dialect(tmp_path, upstream, no_auth=False) as http:
        for path in (COMPLETIONS, STREAM, "/dip/publicapi/projects/P/llms", "/dip/publicapi/nothing"):
            answer = await http.request("GET" if path.endswith("llms") else "POST", path, content=b"not json")
            assert answer.status_code == 401
            assert answer.json()["errorType"] == "missing_api_key"
        answer = await http.get("/public/api/projects/P/llms/openai/v1/models")
        assert answer.status_code == 401
