"""Who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi.routing import APIRoute

from byom.server.api.access import OPEN_TO_INFERENCE, PUBLIC
from byom.server.api.application import ROUTERS, api_routes, create_api
from byom.settings import Settings
from tests.server.api.conftest import SmallHub, small_hub


def places(hub: SmallHub) -> Iterator[tuple[str, str]]:
    """Every method and path of the route table, with something in each parameter's place."""
    app = create_api(hub)
    own = [route for route in app.routes if isinstance(route, APIRoute)]
    assert len(app.routes) == len(own) + len(ROUTERS), "there are routes that this test does not know how to call"
    for route in [*own, *api_routes()]:
        for method in route.methods:
            yield method, re.sub(r"\{[^}]+\}", "x", route.path)


def assert_error(answer: httpx2.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert {"message", "type", "param", "code"} <= error.keys()


async def test_every_route_but_the_public_ones_refuses_a_caller_without_a_key(local: SmallHub) -> None:
    """Gateway checklist 66."""
    asked = list(places(local))
    assert len(asked) > 40
    async with local.client(None) as nobody:
        for method, path in asked:
            answer = await nobody.request(method, path)
            if (method, path) in PUBLIC:
                assert answer.status_code == 200, path
                continue
            assert_error(answer, 401, "missing_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_that_needs_an_admin_refuses_a_key_of_role_inference(local: SmallHub) -> None:
    _, token = await local.token()
    async with local.client(token) as caller:
        for method, path in places(local):
            answer = await caller.request(method, path)
            if (method, path) in PUBLIC | OPEN_TO_INFERENCE:
                # A change without a body, or without what it is about, is let in, and then told what is missing.
                assert answer.status_code == (200 if method == "GET" else 422), path
            else:
                assert_error(answer, 403, "admin_required")


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/nothing", "/api/docs/", "/api/docs/x", "/api//docs", "/api/../docs", "/API/docs", "/"],
)
async def test_what_is_not_public_to_the_letter_needs_a_key(local: SmallHub, path: str) -> None:
    async with local.client(None) as nobody:
        assert_error(await nobody.get(path), 401, "missing_api_key")


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Basic YTpi", "Bearer sk-byom-x", "sk-byom-aaaaaaaaaaaa-" + "a" * 33, "Bearer " + "x" * 5000],
)
async def test_a_key_that_is_none_is_refused(local: SmallHub, authorization: str) -> None:
    async with local.client(None) as nobody:
        answer = await nobody.get("/api/info", headers={"authorization": authorization})
    assert answer.status_code == 401


async def test_a_key_in_the_url_or_in_another_header_is_not_looked_at(local: SmallHub) -> None:
    """Gateway checklist 68."""
    token = local.admin_token
    async with local.client(None) as nobody:
        for path in (f"/api/info?key={token}", f"/api/info?api_key={token}&access_token={token}"):
            assert (await nobody.get(path)).status_code == 401
        assert (await nobody.get("/api/info", headers={"cookie": f"key={token}"})).status_code == 401


async def test_a_revoked_key_opens_nothing_from_then_on(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    key_id, token = await hub.token(role="admin")
    async with hub.client(token) as second:
        assert (await second.get("/api/info")).status_code == 200
        assert (await admin.delete(f"/api/keys/{key_id}")).json()["done"] is True
        assert (await second.get("/api/info")).status_code == 401


async def test_a_user_who_is_no_admin_any_more_takes_its_keys_along(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    await admin.post("/api/users", json={"name": "ann", "role": "admin"})
    _, token = await hub.token(user="ann", role="admin")
    async with hub.client(token) as ann:
        assert (await ann.get("/api/info")).status_code == 200
        await admin.patch("/api/users/ann", json={"role": "inference"})
        assert_error(await ann.get("/api/info"), 403, "admin_required")


async def test_without_keys_this_machine_is_let_in_and_no_other(tmp_path: Path) -> None:
    async with small_hub(Settings(home=tmp_path, no_auth=True)) as hub:
        for address, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 401)):
            async with hub.client(None, address=address) as client:
                assert (await client.get("/api/info")).status_code == status
        async with hub.client(None) as client:
            await client.post("/api/users", json={"name": "ann"})
            assert (await client.get("/api/me")).json() == {"role": "admin", "user": None, "key": None}
            assert (await client.get("/api/audit")).json()["data"][0]["actor"] == "local"


async def test_what_a_key_does_stands_in_the_audit_log_under_its_id(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    """Gateway checklist 75."""
    key_id, token = await hub.token(role="admin")
    async with hub.client(token) as second:
        await second.post("/api/users", json={"name": "bo"})
    entry = (await admin.get("/api/audit", params={"kind": "user", "name": "bo"})).json()["data"][0]
    assert (entry["actor"], entry["action"], entry["after"]["role"]) == (f"key:{key_id}", "create", "inference")


async def test_the_audit_log_comes_in_pages(local: SmallHub, local_admin: httpx2.AsyncClient) -> None:
    for number in range(5):
        await local_admin.post("/api/users", json={"name": f"u{number}"})
    names: list[str] = []
    before: int | None = None
    while True:
        params = {"limit": 2, "kind": "user"} | ({} if before is None else {"before": before})
        page = (await local_admin.get("/api/audit", params=params)).json()
        names += [entry["name"] for entry in page["data"]]
        before = page["next"]
        if before is None:
            break
    assert names == ["u4", "u3", "u2", "u1", "u0", "admin"]
