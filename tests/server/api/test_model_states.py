"""The state of models, as the hub has seen them."""

from __future__ import annotations

import time
from typing import Any

import httpx2

from tests.server.api.conftest import SmallHub
from tests.server.api.test_usage import row

NOW = int(time.time() * 1_000_000)


async def states(admin: httpx2.AsyncClient) -> dict[str, str]:
    listed = {one["name"]: one["state"] for one in (await admin.get("/api/models")).json()["data"]}
    for name, state in listed.items():
        assert (await admin.get(f"/api/models/{name}")).json()["state"] == state
    return listed


async def connect(hub: SmallHub, *models: str) -> None:
    await hub.catalog.connections.create({"name": "lab", "url": "http://127.0.0.1:9"}, actor="test")
    for name in models:
        await hub.catalog.models.create({"name": name, "connection": "lab"}, actor="test")


def called(hub: SmallHub, model: str, *outcomes: dict[str, Any]) -> None:
    """The calls of a model, oldest first."""
    for number, outcome in enumerate(outcomes):
        hub.ledger.append(row(NOW + number, model=model, **outcome))


OK: dict[str, Any] = {}
DOWN = {"state": "error", "status": 502, "error": "upstream_unreachable"}
WRONG = {"state": "error", "status": 400, "error": "invalid_request"}
REFUSED = {"state": "refused", "status": 429}


async def test_the_last_calls_of_a_model_say_whether_it_can_be_counted_on(
    hub: SmallHub, admin: httpx2.AsyncClient
) -> None:
    await connect(hub, "fresh", "good", "bad", "recovered", "shaky", "misused")
    called(hub, "good", OK, WRONG, REFUSED)
    called(hub, "bad", OK, DOWN, DOWN, DOWN, WRONG)
    called(hub, "recovered", DOWN, DOWN, DOWN, OK)
    called(hub, "shaky", OK, DOWN, DOWN)
    called(hub, "misused", WRONG, REFUSED)
    found = await states(admin)
    assert {name: found[name] for name in ("fresh", "good", "bad", "recovered", "shaky", "misused")} == {
        "fresh": "unknown",
        "good": "ready",
        "bad": "failing",
        "recovered": "ready",
        "shaky": "ready",
        "misused": "unknown",
    }


async def test_a_connection_that_is_left_alone_makes_its_models_failing(
    local: SmallHub, local_admin: httpx2.AsyncClient
) -> None:
    await connect(local, "one", "two")
    called(local, "one", OK)
    local.gateway.circuits["lab"] = "open"
    found = await states(local_admin)
    assert (found["one"], found["two"], found["lexical"]) == ("failing", "failing", "ready")
    local.gateway.circuits["lab"] = "closed"
    assert (await states(local_admin))["one"] == "ready"


async def test_what_is_disabled_is_told_apart(local: SmallHub, local_admin: httpx2.AsyncClient) -> None:
    await connect(local, "one", "two")
    called(local, "one", OK)
    await local.catalog.models.update("two", {"enabled": False}, actor="test")
    found = await states(local_admin)
    assert (found["one"], found["two"]) == ("ready", "disabled")
    await local.catalog.connections.update("lab", {"enabled": False}, actor="test")
    assert (await states(local_admin))["one"] == "disabled"


async def test_the_states_of_many_models_are_known_at_once(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    names = [f"model-{number}" for number in range(130)]
    await connect(hub, *names)
    called(hub, names[0], OK)
    called(hub, names[-1], DOWN)
    found = {one["name"]: one["state"] for one in (await admin.get("/api/models")).json()["data"]}
    assert (found[names[0]], found[names[64]], found[names[-1]]) == ("ready", "unknown", "failing")
