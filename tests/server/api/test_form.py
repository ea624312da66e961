"""The form of every answer: errors, request ids, limits of size, documentation, drift of schemas."""

from __future__ import annotations

import re
import subprocess
import sys

import httpx2
import msgspec
import pytest
from pydantic import BaseModel

from byom import __version__
from byom.catalog import forms, records
from byom.catalog import snapshot as snapshots
from byom.ledger.row import Row
from byom.server import host_state
from byom.server.api.application import create_api
from byom.server.api.csv_table import csv_response
from byom.server.api.money import dollars
from byom.server.api.schemas import call, code, connection, hub, key, model, policies, price, settings, user
from byom.types import limits, target
from tests.server.api.conftest import SmallHub
from tests.server.api.test_access import assert_error

CANARY = "sk-canary-0123456789abcdef"


async def test_an_unknown_path_and_a_wrong_method_answer_in_openai_form(local_admin: httpx2.AsyncClient) -> None:
    assert_error(await local_admin.get("/api/nothing"), 404, "route_not_found")
    answer = await local_admin.put("/api/models/x")
    assert_error(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET, PATCH"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": "http://x"}, "name"),
        ({"name": "a", "url": "http://x", "nmae": 1}, "nmae"),
        ({"name": "a", "url": "http://x", "limits": {"windows": [{"unit": "calls"}]}}, "limits.windows[0].unit"),
        ({"name": "a", "url": "http://x", "timeouts": {"connect": -1}}, "timeouts.connect"),
        ({"name": "a", "url": "http://x", "enabled": "yes"}, "enabled"),
    ],
)
async def test_a_wrong_field_is_named(local_admin: httpx2.AsyncClient, body: object, param: str) -> None:
    answer = await local_admin.post("/api/connections", json=body)
    assert_error(answer, 422, "unprocessable_request")
    assert answer.json()["error"]["param"] == param
    assert param in answer.json()["error"]["message"]


async def test_a_field_that_only_the_catalog_can_judge_is_named_too(local_admin: httpx2.AsyncClient) -> None:
    answer = await local_admin.post("/api/models", json={"name": " m", "connection": "builtin"})
    assert_error(answer, 400, "invalid_config")
    assert answer.json()["error"]["param"] == "name"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"", b"null", b"3"])
async def test_a_body_that_is_no_object_is_the_callers_mistake(local_admin: httpx2.AsyncClient, body: bytes) -> None:
    answer = await local_admin.post("/api/users", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


async def test_a_form_of_another_sites_page_is_not_read_as_json(local_admin: httpx2.AsyncClient) -> None:
    """A browser sends text/plain anywhere without asking; a JSON body of that kind must do nothing."""
    answer = await local_admin.post("/api/users", content=b'{"name":"eve"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert (await local_admin.get("/api/users/eve")).status_code == 404


async def test_a_body_over_the_limit_is_refused(local: SmallHub, local_admin: httpx2.AsyncClient) -> None:
    """Gateway checklist 41."""
    size = local.settings.max_body_bytes
    answer = await local_admin.post("/api/apply", content=b"x" * (size + 1))
    assert_error(answer, 413, "request_too_large")

    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(size // 65536 + 2):
            yield b"x" * 65536

    assert_error(await local_admin.post("/api/apply", content=pieces()), 413, "request_too_large")


async def test_a_request_id_is_kept_or_made(local_admin: httpx2.AsyncClient) -> None:
    """Gateway checklist 90."""
    assert (await local_admin.get("/api/info", headers={"x-request-id": "mine-1"})).headers["x-request-id"] == "mine-1"
    for given in ("", "a b", "x" * 129):
        answer = await local_admin.get("/api/info", headers={"x-request-id": given})
        assert re.fullmatch(r"req_[0-9a-f]{26}", answer.headers["x-request-id"])


async def test_a_mistyped_query_parameter_does_nothing(local_admin: httpx2.AsyncClient) -> None:
    answer = await local_admin.delete("/api/models/extractive", params={"dryrun": "true"})
    assert_error(answer, 422, "unprocessable_request")
    assert "there are dry_run" in answer.json()["error"]["message"]
    assert (await local_admin.get("/api/models/extractive")).status_code == 200
    assert (await local_admin.get("/api/info", params={"x": "1"})).status_code == 422
    assert (await local_admin.delete("/api/models/lexical?dry_run=true&dry_run=false")).status_code == 422


async def test_no_answer_may_be_kept(local_admin: httpx2.AsyncClient) -> None:
    for path in ("/api/info", "/api/nothing", "/api/docs", "/api/openapi.json"):
        answer = await local_admin.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_fault_says_where_to_look_and_nothing_else(
    local: SmallHub, local_admin: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def live(self) -> list[dict[str, object]]:
            raise RuntimeError(CANARY)

    local.gateway = Broken()  # type: ignore[assignment]
    answer = await local_admin.get("/api/live", headers={"x-request-id": "look-here"})
    assert_error(answer, 500, "internal_error")
    assert "look-here" in answer.json()["error"]["message"]
    assert CANARY not in answer.text
    assert "look-here" in caplog.text


async def test_the_database_being_away_is_told_as_such(local: SmallHub, local_admin: httpx2.AsyncClient) -> None:
    from sqlalchemy import text

    async with local.catalog.store.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE audit RENAME TO gone"))
    answer = await local_admin.get("/api/audit")
    assert_error(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_the_documentation_page_takes_nothing_from_elsewhere(local: SmallHub) -> None:
    async with local.client(None) as nobody:
        page = await nobody.get("/api/docs")
        document = (await nobody.get("/api/openapi.json")).json()
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert not re.search(r"""(src|href)=["'](?!/api/)""", page.text)
    assert "innerHTML" not in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert document["info"]["version"] == __version__
    assert document["security"] == [{"key": []}]


def test_a_hub_that_only_forwards_calls_does_not_load_fastapi() -> None:
    program = (
        "import sys, byom.server.hub; print([m for m in sys.modules if m.split('.')[0] in ('fastapi', 'pydantic')])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


async def test_operations_have_short_ids_of_their_own(local: SmallHub) -> None:
    async with local.client(None) as nobody:
        document = (await nobody.get("/api/openapi.json")).json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z_]+", one) for one in ids)
    assert {one["x-role"] for one in operations} == {"admin", "inference"}


async def test_no_schema_of_an_answer_has_a_field_for_a_secret(local: SmallHub) -> None:
    document = create_api(local)
    async with local.client(None) as nobody:
        schemas = (await nobody.get("/api/openapi.json")).json()["components"]["schemas"]
    assert document.state.hub is local
    secret = {name for name, one in schemas.items() for part in one.get("properties", {}).items() if _is_secret(*part)}
    assert secret == {"ConnectionIn", "ConnectionPatch", "CheckIn", "CodeIn", "CredentialIn", "Login"}


def _is_secret(name: str, part: dict[str, object]) -> bool:
    return "writeOnly" in str(part) or name in ("secret", "ciphertext", "digest", "authorization")


PAIRS: list[tuple[type[msgspec.Struct], type[BaseModel], set[str]]] = [
    (records.Connection, connection.Connection, set()),
    (records.Model, model.Model, {"state"}),
    (records.PriceShown, model.PriceShown, set()),
    (records.User, user.User, set()),
    (records.Key, key.Key, set()),
    (records.CreatedKey, key.CreatedKey, set()),
    (records.PriceOverride, price.PriceOverride, set()),
    (records.AuditEntry, hub.AuditEntry, set()),
    (records.Deletion, hub.Deletion, set()),
    (records.Change, hub.Change, set()),
    (records.Plan, hub.Plan, set()),
    (forms.ConnectionForm, connection.ConnectionIn,
     {"base_path", "check", "save_anyway", "allow_spend", "check_timeout", "probe", "models"}),
    (forms.ConnectionForm, connection.ConnectionPatch,
     {"base_path", "kind", "check", "save_anyway", "allow_spend", "check_timeout"}),
    (forms.ModelForm, model.ModelIn, {"options"}),
    (forms.ModelForm, model.ModelPatch, {"options"}),
    (records.Preset, code.Preset, set()),
    (records.Credential, code.Credential, set()),
    (host_state.HostState, code.HostState, set()),
    (forms.UserForm, user.UserIn, set()),
    (forms.UserForm, user.UserPatch, set()),
    (forms.KeyForm, key.KeyIn, set()),
    (forms.KeyForm, key.KeyPatch, {"user"}),
    (forms.SettingsForm, settings.SettingsPatch, set()),
    (forms.SettingsForm, settings.LiveSettings, set()),
    (forms.LimitsForm, policies.LimitsIn, set()),
    (forms.LimitsForm, policies.Limits, set()),
    (forms.BudgetForm, policies.BudgetIn, set()),
    (forms.PriceForm, policies.PriceIn, set()),
    (forms.PriceForm, policies.Price, set()),
    (limits.Window, policies.WindowIn, set()),
    (limits.Window, policies.Window, set()),
    (target.Timeouts, policies.TimeoutsIn, set()),
    (target.Timeouts, policies.Timeouts, set()),
    (target.NetworkPolicy, settings.NetworkIn, set()),
    (target.NetworkPolicy, settings.Network, set()),
    (snapshots.Retry, policies.RetryIn, set()),
    (snapshots.Retry, policies.Retry, set()),
    (snapshots.Circuit, policies.CircuitIn, set()),
    (snapshots.Circuit, policies.Circuit, set()),
    (snapshots.CachePolicy, policies.CacheIn, set()),
    (snapshots.CachePolicy, policies.Cache, set()),
    (Row, call.Call, {"latency", "latency_ms", "first_token", "first_token_ms", "overhead", "overhead_ms", "waited",
                      "waited_ms"}),
]  # fmt: skip


@pytest.mark.parametrize(("struct", "schema", "apart"), PAIRS, ids=lambda one: getattr(one, "__name__", ""))
def test_the_api_has_the_fields_of_the_catalog_and_the_ledger(
    struct: type[msgspec.Struct], schema: type[BaseModel], apart: set[str]
) -> None:
    assert set(struct.__struct_fields__) ^ set(schema.model_fields) == apart


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (None, None),
        (0, "0"),
        (1, "0.000000000001"),
        (37_500, "0.0000000375"),
        (10**12, "1"),
        (12 * 10**30, "12" + "0" * 18),
    ],
)
def test_money_is_exact(pico: int | None, text: str | None) -> None:
    """Gateway checklist 58."""
    assert dollars(pico) == text


def test_a_table_does_not_smuggle_formulas_into_a_spreadsheet() -> None:
    class Line(BaseModel):
        name: str
        cost: str | None

    lines = [Line(name="=HYPERLINK(1)", cost=None), Line(name='a,"b"', cost="0.5")]
    body = csv_response(lines, ("name", "cost")).body
    assert body == b'name,cost\r\n\'=HYPERLINK(1),\r\n"a,""b""",0.5\r\n'
