"""Models, users, keys, prices, settings, byom.toml: through the API, on both databases."""

from __future__ import annotations

import tomllib

import httpx2

from tests.server.api.conftest import SmallHub
from tests.server.api.test_access import assert_error


async def lab(admin: httpx2.AsyncClient, *models: str, **fields: object) -> None:
    body = {"name": "lab", "url": "http://lab.example:8000", "models": list(models), "check": False, **fields}
    answer = await admin.post("/api/connections", json=body)
    assert answer.status_code == 201, answer.text


async def test_a_model_is_made_shown_renamed_and_deleted(admin: httpx2.AsyncClient) -> None:
    await lab(admin)
    made = await admin.post(
        "/api/models",
        json={"name": "org/m:1", "connection": "lab", "upstream_model": "m", "price": {"input": "0.1", "output": 2}},
    )
    assert made.status_code == 201, made.text
    assert made.json()["own_price"]["input"] == "0.1"
    assert made.json()["price"]["source"] == "model"
    await admin.post("/api/models", json={"name": "b", "connection": "lab", "fallbacks": ["org/m:1"]})
    renamed = await admin.patch("/api/models/org/m:1", json={"name": "deep/er/n", "context_window": 4096})
    assert (renamed.json()["name"], renamed.json()["context_window"]) == ("deep/er/n", 4096)
    assert (await admin.get("/api/models/b")).json()["fallbacks"] == ["deep/er/n"]
    assert (await admin.get("/api/models/custom:lab:deep/er/n")).json()["id"] == made.json()["id"]
    assert_error(await admin.get("/api/models/org/m:1"), 404, "model_not_found")
    plan = await admin.delete("/api/models/deep/er/n", params={"dry_run": "true"})
    assert (plan.json()["fallbacks"], plan.json()["done"]) == (["b"], False)
    assert (await admin.get("/api/models/deep/er/n")).status_code == 200
    assert (await admin.delete("/api/models/deep/er/n")).json()["done"] is True
    names = [one["name"] for one in (await admin.get("/api/models", params={"connection": "lab"})).json()["data"]]
    assert names == ["b"]


async def test_null_takes_a_field_of_a_model_back(admin: httpx2.AsyncClient) -> None:
    await lab(admin, "m")
    await admin.patch("/api/models/m", json={"limits": {"concurrency": 2}, "timeouts": {"idle": 5}, "cache": {}})
    shown = (await admin.get("/api/models/m")).json()
    assert (shown["limits"]["concurrency"], shown["timeouts"]["idle"], shown["cache"]["seconds"]) == (2, 5, 3600)
    body = {"limits": {"concurrency": None}, "timeouts": None, "cache": None}
    shown = (await admin.patch("/api/models/m", json=body)).json()
    assert (shown["limits"]["concurrency"], shown["timeouts"], shown["cache"]) == (None, None, None)


async def test_a_user_and_its_keys(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    name = "ann/a?b c"
    made = await admin.post(
        "/api/users", json={"name": name, "limits": {"budget": {"amount": "1.50", "period": "day"}}}
    )
    assert made.status_code == 201, made.text
    assert made.json()["limits"]["budget"] == {"amount": "1.50", "period": "day"}
    created = await admin.post("/api/keys", json={"name": "laptop", "user": name, "models": ["extractive"]})
    assert created.status_code == 201, created.text
    token, key = created.json()["token"], created.json()["key"]
    assert token.startswith(f"sk-byom-{key['id']}-")
    assert hub.catalog.authenticate(token).user_name == name
    listed = await admin.get("/api/keys", params={"user": name})
    assert [one["id"] for one in listed.json()["data"]] == [key["id"]]
    assert token not in listed.text
    edited = await admin.patch(f"/api/keys/{key['id']}", json={"models": None, "expires_at": 4e9})
    assert (edited.json()["models"], edited.json()["expires_at"]) == (None, 4e9)
    path = "/api/users/" + "ann%2Fa%3Fb%20c"
    assert (await admin.get(path)).json()["keys"] == 1
    plan = (await admin.delete(path, params={"dry_run": "true"})).json()
    assert (plan["keys"], plan["done"]) == ([key["id"]], False)
    assert (await admin.delete(path)).json()["done"] is True
    assert_error(await admin.get(f"/api/keys/{key['id']}"), 404, "key_not_found")
    assert_error(await admin.get("/api/keys", params={"user": name}), 404, "user_not_found")


async def test_revoking_the_last_admin_key_is_warned_of(admin: httpx2.AsyncClient) -> None:
    mine = (await admin.get("/api/me")).json()["key"]["id"]
    plan = (await admin.delete(f"/api/keys/{mine}", params={"dry_run": "true"})).json()
    assert "no admin key" in plan["warnings"][0]
    assert (await admin.get("/api/me")).status_code == 200


async def test_a_price_by_pattern_is_in_force_until_it_is_taken_back(admin: httpx2.AsyncClient) -> None:
    await lab(admin, "qwen/a", "qwen/b")
    put = await admin.put("/api/prices/qwen/*", json={"input": 0.2, "output": "0.4", "request": "0.001"})
    assert put.json()["price"] == {
        "input": "0.2", "output": "0.4", "cached_input": None, "cache_write": None, "audio_input": None,
        "audio_output": None, "request": "0.001",
    }  # fmt: skip
    assert (await admin.get("/api/models/qwen/a")).json()["price"]["pattern"] == "qwen/*"
    plan = (await admin.delete("/api/prices/qwen/*", params={"dry_run": "true"})).json()
    assert plan == {"pattern": "qwen/*", "models": ["qwen/a", "qwen/b"], "done": False}
    assert (await admin.delete("/api/prices/qwen/*")).json()["done"] is True
    assert (await admin.get("/api/prices")).json() == {"data": []}
    assert (await admin.get("/api/models/qwen/a")).json()["price"] is None
    assert_error(await admin.delete("/api/prices/qwen/*"), 404, "price_not_found")


async def test_settings_take_effect_at_once(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    before = (await admin.get("/api/settings")).json()
    changed = await admin.patch(
        "/api/settings", json={"require_price": True, "network": {"allow_public": False, "allow_hosts": ["*.lan"]}}
    )
    assert changed.json() == before | {
        "require_price": True,
        "network": before["network"] | {"allow_public": False, "allow_hosts": ["*.lan"]},
    }
    assert hub.catalog.snapshot.settings.require_price is True
    assert hub.catalog.snapshot.network.allow_hosts == ("*.lan",)
    back = await admin.patch("/api/settings", json={"require_price": None, "network": None})
    assert back.json() == before


async def test_a_declaration_is_applied_and_exported(admin: httpx2.AsyncClient) -> None:
    text = '[connections.lab]\nurl = "http://lab.example:8000"\nmodels = ["m"]\n'
    plan = (await admin.post("/api/apply", json={"toml": text, "dry_run": True})).json()
    assert [(one["action"], one["kind"], one["name"]) for one in plan["changes"]] == [
        ("create", "connection", "lab"), ("create", "model", "m")
    ]  # fmt: skip
    assert plan["done"] is False
    assert (await admin.get("/api/models/m")).status_code == 404
    assert (await admin.post("/api/apply", json={"toml": text})).json()["done"] is True
    assert (await admin.post("/api/apply", json={"toml": text})).json()["changes"] == []
    exported = await admin.get("/api/export")
    assert exported.headers["content-type"].startswith("application/toml")
    assert tomllib.loads(exported.text)["connections"]["lab"]["url"] == "http://lab.example:8000/v1"


async def test_a_declaration_from_afar_reads_no_file(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    place = hub.settings.admin_key_file
    text = f'[connections.lab]\nurl = "http://lab.example"\nkey_file = "{place}"\n'
    answer = await admin.post("/api/apply", json={"toml": text})
    assert answer.status_code == 400
    assert "[connections.lab]" in answer.json()["error"]["message"]
    assert hub.admin_token not in answer.text


async def test_secrets_are_encrypted_anew(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    await lab(admin, key="sk-upstream-1", headers={"x-api-key": "sk-upstream-2"})
    assert (await admin.post("/api/secrets/rotate")).json() == {"rotated": 2}
    assert hub.catalog.snapshot.connections["lab"].authorization == "Bearer sk-upstream-1"


async def test_information_tells_what_there_is_and_where_nothing_is_kept(
    hub: SmallHub, admin: httpx2.AsyncClient
) -> None:
    hub.gateway.under_way.append({
        "id": "req_1", "model": "m", "connection": "lab", "key": None, "user": None, "route": "chat/completions",
        "stream": True, "seconds": 0.5, "attempts": 1, "tokens": 3,
    })  # fmt: skip
    answer = await admin.get("/api/info")
    info = answer.json()
    assert (info["connections"], info["models"], info["users"], info["keys"]) == (1, 2, 1, 1)
    assert (info["auth"], info["calls_under_way"], info["ledger"]["accepting"]) == (True, 1, True)
    assert str(hub.settings.home) not in answer.text
    assert (await admin.get("/api/live")).json()["data"][0]["tokens"] == 3
