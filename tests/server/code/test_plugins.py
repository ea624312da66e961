"""A plugin's folder becomes a connection; each user's own credential reaches its code, and nobody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from byom.server.hub import Hub
from byom.settings import load_settings
from tests.server.code.asking import add, ask, error_of, text_of
from tests.server.code.conftest import client_of

FIELD = "param_set_api_key"
ANNS, BOBS = "sk-ann-0123456789abcdef", "sk-bob-fedcba9876543210"


async def user(hub: Hub, name: str, **key: object) -> httpx2.AsyncClient:
    """A client with a key of a new user."""
    await hub.catalog.users.create({"name": name}, actor="test")
    made = await hub.catalog.keys.create({"name": name, "user": name, **key}, actor="test")
    return client_of(hub, made.token)


async def enter(client: httpx2.AsyncClient, value: object, preset: str = "parameter-custom-llm") -> httpx2.Response:
    body = {"connection": "llms", "preset": preset, "field": FIELD, "value": value}
    return await client.put("/api/me/credentials", json=body)


@pytest.fixture
async def connected(hub: Hub, admin: httpx2.AsyncClient, plugin: Path) -> Hub:
    made = await add(admin, plugin, name="llms", models=[{"id": "custom-chat-plugin", "name": "gpt"}])
    assert made["connection"]["options"]["plugin"]["id"] == "tutorial"
    return hub


async def test_each_caller_is_served_with_a_credential_of_its_own(connected: Hub) -> None:
    async with await user(connected, "ann") as ann, await user(connected, "bob") as bob:
        asked = (await ann.get("/api/me/credentials")).json()["data"]
        assert [(one["connection"], one["field"], one["models"], one["is_set"]) for one in asked] == [
            ("llms", FIELD, ["gpt"], False)
        ]
        for client, secret in ((ann, ANNS), (bob, BOBS)):
            stored = await enter(client, secret)
            assert stored.status_code == 200, stored.text
            assert secret not in stored.text
            assert (stored.json()["is_set"], stored.json()["hint"]) == (True, secret[-4:])
        calls = [(client, secret) for client, secret in ((ann, ANNS), (bob, BOBS))] * 20
        answers = await asyncio.gather(*(ask(client, "gpt") for client, _ in calls))
        assert [text_of(answer) for answer in answers] == [secret for _, secret in calls]
        assert (await ann.delete("/api/me/credentials", params={
            "connection": "llms", "preset": "parameter-custom-llm", "field": FIELD,
        })).status_code == 204  # fmt: skip
        error_of(await ask(ann, "gpt"), 403, "credential_missing")
        assert text_of(await ask(bob, "custom:llms:gpt")) == BOBS


async def test_one_without_a_credential_is_told_where_to_enter_it(connected: Hub) -> None:
    async with await user(connected, "carl") as carl:
        message = error_of(await ask(carl, "gpt"), 403, "credential_missing")
        assert "carl" in message
        assert "byom credentials set" in message
        assert FIELD in message


async def test_a_probe_is_made_with_the_credential_of_who_probes(connected: Hub, admin: httpx2.AsyncClient) -> None:
    probe = "/api/models/gpt/probe?spend=true"
    refused = await admin.post(probe)
    assert refused.status_code >= 400
    assert "byom credentials set" in refused.text
    await enter(admin, ANNS)
    report = await admin.post(probe)
    assert report.status_code == 200, report.text
    assert report.json()["findings"]["chat"]["value"] == "yes"


async def test_a_user_sees_and_changes_its_own_credentials_alone(connected: Hub, admin: httpx2.AsyncClient) -> None:
    async with await user(connected, "ann") as ann, await user(connected, "out", models=["extractive"]) as out:
        await enter(ann, ANNS)
        assert (await out.get("/api/me/credentials")).json()["data"] == [], "its key may not use the model"
        (own,) = (await admin.get("/api/me/credentials")).json()["data"]
        assert not own["is_set"], "an admin has credentials of its own, and sees no others"
        everything = [
            await admin.get(path)
            for path in ("/api/connections", "/api/models", "/api/users", "/api/export", "/api/audit?limit=1000",
                         "/api/connections/llms/presets", "/api/connections/llms/logs", "/api/connections/llms/host")
        ]  # fmt: skip
        assert not any(ANNS in answer.text for answer in everything)
        assert "credential" in everything[4].text
        assert (await ann.get("/api/connections/llms/presets")).status_code == 403
        assert (await ann.post("/api/connections/llms/restart")).status_code == 403


@pytest.mark.parametrize("value", ["", "   ", {"user": "ann", "password": "x"}])
async def test_a_credential_of_the_wrong_form_is_refused_without_showing_it(connected: Hub, value: object) -> None:
    async with await user(connected, "ann") as ann:
        refused = await enter(ann, value)
        assert refused.status_code in (400, 422), refused.text
        unknown = await enter(ann, ANNS, preset="other")
        error_of(unknown, 404, "preset_not_found")
        assert ANNS not in unknown.text


async def test_models_of_one_plugin_have_parameters_of_their_own(admin: httpx2.AsyncClient, plugin: Path) -> None:
    models = [
        {"id": "custom-chat-plugin", "name": "polite", "params": {"greeting": "Dear ", "pin": "pin-canary-1234567890"}},
        {"id": "custom-chat-plugin", "name": "rude", "params": {"greeting": "Hey ", "api_key": "OpenAI"}},
    ]
    made = await add(admin, plugin, name="llms", models=models)
    assert "pin-canary" not in str(made)
    for preset, secret in (("parameter-custom-llm", "one-secret"), ("OpenAI", "other-secret")):
        assert (await enter(admin, secret, preset)).status_code == 200
    assert text_of(await ask(admin, "polite")) == "Dear one-secret"
    assert text_of(await ask(admin, "rude")) == "Hey other-secret"
    more = await admin.post(
        "/api/connections/llms/code-models",
        json={"models": [{"id": "custom-chat-plugin", "name": "third", "params": {"api_key": "OpenAI"}}]},
    )
    assert more.status_code == 201, more.text
    assert text_of(await ask(admin, "third")) == "other-secret"
    assert text_of(await ask(admin, "polite")) == "Dear one-secret"


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([{"id": "no-such", "name": "x"}], "no-such"),
        ([{"id": "custom-chat-plugin", "params": {"greting": "x"}}], "greeting"),
    ],
)
async def test_what_is_wrong_with_parameters_is_said(
    hub: Hub, admin: httpx2.AsyncClient, plugin: Path, models: object, said: str
) -> None:
    refused = await admin.post("/api/connections/code", json={"target": str(plugin), "name": "x", "models": models})
    assert refused.status_code == 400, refused.text
    assert said in refused.json()["error"]["message"]
    assert hub.catalog.state.connection("x") is None


async def test_presets_are_made_changed_and_removed(connected: Hub, admin: httpx2.AsyncClient) -> None:
    path = "/api/connections/llms/presets"
    made = await admin.post(path, json={"name": "east", "values": {"region": "us", "shared": "shared-canary-12345678"}})
    assert made.status_code == 201, made.text
    assert made.json()["values"] == {"region": "us"}
    assert made.json()["secrets"] == {"shared": "5678"}
    document = connected.catalog.host_configuration("llms").document
    assert "shared-canary" not in str(document), "no model uses it"
    changed = await admin.patch(f"{path}/east", json={"values": {"region": "asia"}})
    assert (changed.json()["values"], changed.json()["secrets"]) == ({"region": "asia"}, {"shared": "5678"})
    wrong = await admin.patch(f"{path}/east", json={"values": {"regoin": "x"}})
    assert wrong.status_code == 400
    plan = (await admin.delete(f"{path}/parameter-custom-llm?dry_run=true")).json()
    assert "gpt" in plan["warnings"][0]
    assert (await admin.delete(f"{path}/east")).json()["done"]
    assert [one["name"] for one in (await admin.get(path)).json()["data"]] == ["parameter-custom-llm"]


async def test_a_change_is_told_to_the_process_without_disturbing_calls(
    connected: Hub, admin: httpx2.AsyncClient
) -> None:
    await enter(admin, ANNS)
    body = {"model": "gpt", "stream": True, "messages": [{"role": "user", "content": "long"}]}
    async with admin.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_text()
        await anext(pieces)
        async with await user(connected, "bob") as bob:
            await enter(bob, BOBS)
            edited = await admin.patch("/api/connections/llms", json={"options": {"queue": 5, "timeout": 30}})
            assert edited.status_code == 200, edited.text
            assert text_of(await ask(bob, "gpt")) == BOBS
        found = ""
        while found.count("chat.completion.chunk") < 20:
            found += await anext(pieces)
    assert '"error"' not in found
    states = await connected.code.states()
    assert (states["llms"].state, states["llms"].restarts) == ("ready", 0)


async def test_a_hub_without_keys_uses_the_admins_credentials(tmp_path: Path, plugin: Path) -> None:
    settings = load_settings({"home": tmp_path / "open", "no_auth": True}, environ={})
    async with Hub.session(settings) as hub, client_of(hub, "") as anybody:
        del anybody.headers["authorization"]
        await add(anybody, plugin, name="llms", models=[{"id": "custom-chat-plugin", "name": "gpt"}])
        assert (await enter(anybody, ANNS)).status_code == 200
        assert text_of(await ask(anybody, "gpt")) == ANNS
