"""Probing a model through the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from byom.ledger.ledger import Ledger
from byom.server.api.application import create_api
from byom.testing import Behavior, FakeUpstream
from tests.server.api.conftest import SmallHub
from tests.server.api.test_access import assert_error


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(models=("one", "two")) as server:
        yield server


@pytest.fixture
async def ready(hub: SmallHub, upstream: FakeUpstream) -> SmallHub:
    await hub.catalog.connections.create({"name": "lab", "url": upstream.base_url}, actor="test")
    price = {"input": "1", "output": "2", "request": "0.01"}
    await hub.catalog.models.create(
        {"name": "a/one", "connection": "lab", "upstream_model": "one", "price": price}, actor="t"
    )
    return hub


async def test_a_probe_says_what_it_would_spend_and_waits_for_consent(
    ready: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    answer = await admin.post("/api/models/a/one/probe")
    assert_error(answer, 409, "spend_required")
    plan = answer.json()["error"]["details"]["plan"]
    assert plan["model"] == "one"
    assert plan["calls"] > 3
    assert plan["max_tokens"] > 0
    assert upstream.requests == []


async def test_a_probe_keeps_what_it_found_and_writes_what_it_cost(
    ready: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    answer = await admin.post("/api/models/a/one/probe", params={"spend": "true", "kind": "chat"})
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert {"chat"} <= set(report["abilities"])
    assert report["findings"]["streaming"]["value"] == "yes"
    model = (await admin.get("/api/models/a/one")).json()
    assert model["abilities"] == report["abilities"]
    assert model["details"]["probe"]["findings"] == report["findings"]
    [row] = (await admin.get("/api/calls")).json()["data"]
    usage = report["usage"]
    expected = report["calls"] * 10**10 + usage["prompt_tokens"] * 10**6 + usage["completion_tokens"] * 2 * 10**6
    assert round(float(row["cost"]) * 10**12) == expected
    assert (row["origin"], row["model"], row["attempts"], row["cost"]) == (
        "probe", "a/one", report["calls"], report["cost"]
    )  # fmt: skip
    assert report["calls"] == len([one for one in upstream.requests if one.method == "POST"])


async def test_a_probe_tells_each_finding_as_an_event(ready: SmallHub, admin: httpx2.AsyncClient) -> None:
    answer = await admin.post("/api/models/a/one/probe?spend=true&kind=embed", headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in (block.split("\n") for block in answer.text.split("\n\n") if block.startswith("event"))
    ]
    assert [name for name, _ in events] == ["plan", "finding", "finding", "report"]
    assert {data["ability"] for name, data in events if name == "finding"} == {"embed", "dimensions"}
    assert events[-1][1]["dimensions"] == 8
    assert (await admin.get("/api/models/a/one")).json()["dimensions"] == 8


async def test_a_probe_that_fails_says_why(ready: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream) -> None:
    upstream.set_default(Behavior(status=401))
    assert_error(await admin.post("/api/models/a/one/probe?spend=true"), 502, "upstream_auth")
    events = await admin.post("/api/models/a/one/probe?spend=true", headers={"accept": "text/event-stream"})
    assert events.status_code == 200
    assert '"code":"upstream_auth"' in events.text.rpartition("event: error")[2]


async def test_nothing_is_spent_that_could_not_be_recorded(
    ready: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    ready.ledger = Ledger(ready.settings.database, ready.settings.home / "other", engine=ready.catalog.store.engine)
    assert_error(await admin.post("/api/models/a/one/probe?spend=true"), 503, "ledger_full")
    assert upstream.requests == []


async def test_a_model_that_cannot_be_called_cannot_be_probed(ready: SmallHub, admin: httpx2.AsyncClient) -> None:
    assert_error(await admin.post("/api/models/extractive/probe?spend=true"), 503, "model_not_running")
    await admin.patch("/api/models/a/one", json={"enabled": False})
    assert_error(await admin.post("/api/models/a/one/probe?spend=true"), 409, "model_disabled")
    assert_error(await admin.post("/api/models/none/probe?spend=true"), 404, "model_not_found")


@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream"])
async def test_a_probe_stops_when_nobody_waits_for_it_any_more(
    ready: SmallHub, upstream: FakeUpstream, accept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.set_default(Behavior(hang=True))
    leave = asyncio.Event()
    given: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None: ...

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "path": "/api/models/a/one/probe", "raw_path": b"", "query_string": b"spend=true", "scheme": "http",
        "headers": [(b"authorization", f"Bearer {ready.admin_token}".encode()), (b"accept", accept)],
        "client": ("127.0.0.1", 1), "server": ("hub", 80), "root_path": "",
    }  # fmt: skip
    call = asyncio.ensure_future(create_api(ready)(scope, receive, send))
    await upstream.wait_for_requests(1)
    leave.set()
    await asyncio.wait_for(call, 5)
    await upstream.wait_for_disconnect()
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_a_new_connection_is_probed_where_that_is_asked_for(
    local: SmallHub, local_admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.set_model("two", Behavior(status=401))
    body = {"name": "lab", "url": upstream.base_url, "models": ["one", "two"], "probe": True}
    made = (await local_admin.post("/api/connections", json=body)).json()
    good, bad = made["probes"]
    assert (good["model"], good["error"], bad["model"], bad["report"]) == ("one", None, "two", None)
    assert bad["error"]["code"] == "upstream_auth"
    assert made["models"][0]["abilities"] == good["report"]["abilities"]
    everything = await local_admin.post("/api/connections", json=body | {"models": "all", "name": "b"})
    assert_error(everything, 422, "unprocessable_request")
