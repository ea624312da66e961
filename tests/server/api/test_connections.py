"""Connecting a server: checked first, saved whole, edited without its key going astray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream
from tests.server.api.conftest import SmallHub
from tests.server.api.test_access import assert_error

KEY = "sk-upstream-canary-12345678"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(models=("one", "two", "org/three"), api_key=KEY) as server:
        yield server


def new(upstream: FakeUpstream, **fields: object) -> dict[str, object]:
    return {"name": "lab", "url": upstream.base_url, "key": KEY, **fields}


async def test_a_server_is_checked_and_saved_with_the_path_that_works(
    hub: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    answer = await admin.post("/api/connections", json=new(upstream, url=upstream.url, models=["one"]))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["connection"]["url"] == upstream.base_url
    assert made["connection"]["key_hint"] == KEY[-4:]
    assert made["connection"]["models"] == ["one"]
    assert [one["name"] for one in made["models"]] == ["one"]
    assert (made["check"]["ok"], made["check"]["key_needed"], made["check"]["paid_calls"]) == (True, True, 0)
    assert {one["id"] for one in made["check"]["models"]} == {"one", "two", "org/three"}
    route = hub.catalog.snapshot.routes["one"]
    assert (route.target.authorization, route.target.base_path) == (f"Bearer {KEY}", "/v1")
    assert (await admin.get("/api/connections")).json()["data"][1] == made["connection"]
    assert (await admin.get("/api/connections/lab")).json() == {**made["connection"], "host": None}


async def test_all_models_that_a_server_lists_are_added_under_free_names(
    admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await admin.post("/api/models", json={"name": "two", "connection": "builtin"})
    made = (await admin.post("/api/connections", json=new(upstream, models="all"))).json()
    assert [(one["name"], one["upstream_model"]) for one in made["models"]] == [
        ("one", "one"), ("lab/two", "two"), ("org/three", "org/three")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"key": None}, "unauthorized", "key"),
        ({"key": "sk-wrong"}, "unauthorized", "key"),
        ({"models": ["onee"]}, "unknown_model", "models"),
        ({"url": "http://127.0.0.1:1/v1"}, "refused", "url"),
        ({"url": "http://nowhere.invalid"}, "dns", "url"),
        ({"url": "http://169.254.169.254/v1"}, "denied", "url"),
        ({"url": "ftp://x"}, "invalid_url", "url"),
    ],
)
async def test_a_server_that_does_not_work_is_refused_with_what_is_wrong(
    local: SmallHub,
    local_admin: httpx2.AsyncClient,
    upstream: FakeUpstream,
    fields: dict[str, object],
    code: str,
    param: str,
) -> None:
    answer = await local_admin.post("/api/connections", json=new(upstream, **fields))
    assert_error(answer, 422, code)
    error = answer.json()["error"]
    assert error["param"] == param
    first = error["details"]["check"]["problems"][0]
    assert first["code"] == code
    assert first["hint"]
    assert KEY not in answer.text
    assert "sk-wrong" not in answer.text
    assert [one.name for one in local.catalog.connections.list()] == ["builtin"]


async def test_an_unknown_model_is_told_with_the_names_that_the_server_has(
    local_admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    answer = await local_admin.post("/api/connections", json=new(upstream, models=["onee"]))
    assert "Did you mean 'one'" in answer.json()["error"]["message"]


async def test_a_server_that_does_not_work_can_be_saved_anyway(local_admin: httpx2.AsyncClient) -> None:
    body = {"name": "later", "url": "http://127.0.0.1:1", "models": ["m"], "save_anyway": True}
    made = await local_admin.post("/api/connections", json=body)
    assert made.status_code == 201
    assert made.json()["check"]["ok"] is False
    assert made.json()["connection"]["url"] == "http://127.0.0.1:1/v1"
    everything = await local_admin.post("/api/connections", json=body | {"name": "all", "models": "all"})
    assert_error(everything, 422, "refused")


async def test_nothing_is_saved_when_a_models_name_is_taken(
    local: SmallHub, local_admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await local_admin.post("/api/models", json={"name": "two", "connection": "builtin"})
    before = local.catalog.snapshot.version
    answer = await local_admin.post("/api/connections", json=new(upstream, models=["one", "two"]))
    assert_error(answer, 409, "conflict")
    assert local.catalog.snapshot.version == before


async def test_a_model_gets_another_name_where_the_servers_is_taken(
    hub: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await admin.post("/api/models", json={"name": "two", "connection": "builtin"})
    refused = await admin.post("/api/connections", json=new(upstream, models=["one", {"id": "two", "name": "two"}]))
    assert_error(refused, 409, "conflict")
    told = refused.json()["error"]
    assert told["details"] == {"model": "two", "name": "two", "owner": "builtin", "free": "lab/two"}
    advised = ["one", {"id": "two", "name": told["details"]["free"]}]
    made = (await admin.post("/api/connections", json=new(upstream, models=advised))).json()
    assert [(one["name"], one["upstream_model"]) for one in made["models"]] == [("one", "one"), ("lab/two", "two")]
    more = await admin.post("/api/connections/lab/models", json={"models": ["one", {"id": "one", "name": "uno"}]})
    assert ([one["name"] for one in more.json()["models"]], more.json()["skipped"]) == (["uno"], ["one"])
    everything = (await admin.post("/api/connections/lab/models", json={"models": "all"})).json()
    assert [one["name"] for one in everything["models"]] == ["org/three"]
    assert hub.catalog.snapshot.routes["uno"].upstream_model == "one"
    unknown = await admin.post("/api/connections/lab/models", json={"models": [{"id": "onee", "name": "x"}]})
    assert_error(unknown, 422, "unknown_model")


async def test_a_taken_name_is_told_before_anything_is_sent(
    local_admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await local_admin.post("/api/connections", json=new(upstream))
    upstream.requests.clear()
    assert_error(await local_admin.post("/api/connections", json=new(upstream)), 409, "conflict")
    assert upstream.requests == []


async def test_only_endpoints_are_made_through_the_api(local_admin: httpx2.AsyncClient) -> None:
    """Gateway checklist 72."""
    body = {"name": "code", "kind": "function", "options": {"target": "os:system"}}
    assert_error(await local_admin.post("/api/connections", json=body), 422, "unprocessable_request")


async def test_an_unsaved_server_is_checked_and_not_kept(
    local: SmallHub, local_admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    before = local.catalog.snapshot.version
    good = await local_admin.post("/api/connections/check", json={"url": upstream.url, "key": KEY})
    assert good.json()["ok"] is True
    bad = await local_admin.post("/api/connections/check", json={"url": upstream.url})
    assert (bad.status_code, bad.json()["ok"], bad.json()["problems"][0]["code"]) == (200, False, "unauthorized")
    assert local.catalog.snapshot.version == before
    assert all(request.method == "GET" for request in upstream.requests)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"x-a": "line\nbreak"}}, "headers.x-a"),
        ({"headers": {"host": "elsewhere"}}, "headers.host"),
        ({"key": "two words"}, "key"),
    ],
)
async def test_a_header_or_key_that_cannot_be_one_is_named(
    local_admin: httpx2.AsyncClient, upstream: FakeUpstream, fields: dict[str, object], param: str
) -> None:
    for path, body in (("/api/connections/check", {"url": upstream.url}), ("/api/connections", new(upstream))):
        answer = await local_admin.post(path, json=body | fields)
        assert_error(answer, 400, "invalid_config")
        assert answer.json()["error"]["param"] == param


async def test_a_ca_file_that_cannot_be_read_is_named(local_admin: httpx2.AsyncClient, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for place in (tmp_path / "none.pem", empty, tmp_path):
        body = {"url": "https://127.0.0.1:1", "ca_file": str(place)}
        answer = await local_admin.post("/api/connections/check", json=body)
        assert_error(answer, 400, "invalid_config")
        assert answer.json()["error"]["param"] == "ca_file"


async def test_a_stored_server_is_checked_with_its_key_even_when_disabled(
    admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await admin.post("/api/connections", json=new(upstream, models=["one"], enabled=False))
    report = (await admin.post("/api/connections/lab/check")).json()
    assert (report["ok"], report["key_sent"]) == (True, True)
    missing = (await admin.post("/api/connections/lab/check", json={"models": ["four"]})).json()
    assert missing["problems"][0]["code"] == "unknown_model"
    assert_error(await admin.post("/api/connections/none/check"), 404, "connection_not_found")
    assert_error(await admin.post("/api/connections/builtin/check"), 409, "not_an_endpoint")


async def test_what_a_server_has_is_listed_with_what_is_here(admin: httpx2.AsyncClient, upstream: FakeUpstream) -> None:
    await admin.post("/api/connections", json=new(upstream, models=["one"]))
    listed = (await admin.get("/api/connections/lab/upstream-models")).json()
    assert {one["id"]: one["added"] for one in listed["data"]} == {"one": ["one"], "two": [], "org/three": []}
    await upstream.stop()
    assert_error(await admin.get("/api/connections/lab/upstream-models"), 502, "upstream_error")


async def test_models_are_added_one_several_or_all(admin: httpx2.AsyncClient, upstream: FakeUpstream) -> None:
    await admin.post("/api/connections", json=new(upstream))
    one = await admin.post("/api/connections/lab/models", json={"models": ["one"]})
    assert (one.status_code, [model["name"] for model in one.json()["models"]]) == (201, ["one"])
    assert_error(await admin.post("/api/connections/lab/models", json={"models": ["four"]}), 422, "unknown_model")
    rest = (await admin.post("/api/connections/lab/models", json={"models": "all"})).json()
    assert [model["name"] for model in rest["models"]] == ["two", "org/three"]
    assert rest["skipped"] == ["one"]
    assert (await admin.get("/api/connections/lab")).json()["models"] == ["one", "two", "org/three"]


async def test_a_stored_key_never_goes_to_another_host(
    hub: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    """Gateway checklist 61."""
    await admin.post("/api/connections", json=new(upstream, models=["one"]))
    async with FakeUpstream(models=("one",)) as other:
        for check in (True, False):
            answer = await admin.patch("/api/connections/lab", json={"url": other.base_url, "check": check})
            assert_error(answer, 409, "reenter_key")
            assert answer.json()["error"]["param"] == "key"
        assert other.requests == []
        moved = await admin.patch("/api/connections/lab", json={"url": other.url, "key": "sk-of-the-other"})
        assert moved.status_code == 200, moved.text
        assert moved.json()["connection"]["url"] == other.base_url
        assert all(KEY not in str(request.headers) for request in other.requests)
        assert hub.catalog.snapshot.connections["lab"].authorization == "Bearer sk-of-the-other"


async def test_an_edit_that_would_break_a_connection_is_refused(
    admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await admin.post("/api/connections", json=new(upstream, models=["one"]))
    assert_error(await admin.patch("/api/connections/lab", json={"key": "sk-wrong"}), 422, "unauthorized")
    assert (await admin.get("/api/connections/lab")).json()["key_hint"] == KEY[-4:]
    forced = await admin.patch(
        "/api/connections/lab", json={"key": "sk-wrong-but-long-enough-9999", "save_anyway": True}
    )
    assert forced.json()["connection"]["key_hint"] == "9999"
    removed = await admin.patch("/api/connections/lab", json={"key": None, "check": False})
    assert (removed.json()["connection"]["key_hint"], removed.json()["check"]) == (None, None)


async def test_an_edit_of_what_cannot_break_it_sends_nothing(admin: httpx2.AsyncClient, upstream: FakeUpstream) -> None:
    await admin.post("/api/connections", json=new(upstream, models=["one"]))
    upstream.requests.clear()
    body = {"name": "hall", "limits": {"requests_per_minute": 5}, "timeouts": {"idle": 1.5}, "retry": {"attempts": 1}}
    edited = (await admin.patch("/api/connections/lab", json=body)).json()["connection"]
    assert (edited["name"], edited["limits"]["requests_per_minute"], edited["timeouts"]["idle"]) == ("hall", 5, 1.5)
    assert upstream.requests == []
    assert_error(await admin.get("/api/connections/lab"), 404, "connection_not_found")


async def test_deleting_tells_what_stops_working(
    hub: SmallHub, admin: httpx2.AsyncClient, upstream: FakeUpstream
) -> None:
    await admin.post("/api/connections", json=new(upstream, models=["one", "two"]))
    key_id, _ = await hub.token(models=["one"])
    await admin.patch("/api/models/extractive", json={"fallbacks": ["two"]})
    await admin.patch("/api/settings", json={"default_connection": "lab"})
    plan = (await admin.delete("/api/connections/lab", params={"dry_run": "true"})).json()
    assert (plan["models"], plan["fallbacks"], plan["keys"]) == (["one", "two"], ["extractive"], [key_id])
    assert (plan["settings"], plan["done"]) == (["default_connection"], False)
    assert (await admin.get("/api/connections/lab")).status_code == 200
    assert (await admin.delete("/api/connections/lab")).json() == plan | {"done": True}
    assert_error(await admin.get("/api/models/one"), 404, "model_not_found")


async def test_a_secret_is_in_no_answer_and_no_log(
    hub: SmallHub, admin: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Gateway checklist 63."""
    caplog.set_level("DEBUG")
    said = ""
    async with FakeUpstream(Behavior(status=401, error={"message": f"bad key {KEY}"}), models=("one",)) as server:
        body = {
            "name": "lab",
            "url": server.base_url,
            "key": KEY,
            "headers": {"x-api-key": KEY + "h"},
            "models": ["one"],
        }
        for method, path, sent in (
            ("POST", "/api/connections", body | {"save_anyway": True, "probe": True}),
            ("POST", "/api/connections", body | {"key": [KEY]}),
            ("POST", "/api/connections", body | {"limits": KEY}),
            ("POST", "/api/connections/check", {"url": server.url, "key": KEY, "headers": {"host": KEY}}),
            ("POST", "/api/connections/check", {"url": f"http://user:{KEY}@127.0.0.1"}),
            ("POST", "/api/connections/lab/check", {}),
            ("PATCH", "/api/connections/lab", {"url": "http://elsewhere.invalid"}),
            ("PATCH", "/api/connections/lab", {"headers": {"x-other-token": KEY}, "save_anyway": True}),
            ("GET", "/api/connections/lab/upstream-models", None),
            ("POST", "/api/models/one/probe?spend=true", None),
            ("GET", "/api/connections", None),
            ("GET", "/api/models", None),
            ("GET", "/api/export", None),
            ("GET", "/api/audit?limit=1000", None),
            ("POST", "/api/apply", {"toml": f'[connections.x]\nurl = "http://x"\nkey = "{KEY}"\nnope = 1'}),
            ("POST", "/api/secrets/rotate", None),
            ("DELETE", "/api/connections/lab", None),
        ):
            answer = await admin.request(method, path, json=sent)
            assert answer.status_code < 500 or answer.status_code == 502, answer.text
            said += answer.text + str(answer.headers)
    assert "lab" in said
    assert KEY not in said
    assert hub.admin_token not in said
    assert KEY not in caplog.text
