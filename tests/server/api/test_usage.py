"""Usage and single calls: whose they are, what they cost, and in pages."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx2

from byom.ledger.request_id import new_id
from byom.ledger.row import Attempt, Row
from tests.server.api.conftest import SmallHub
from tests.server.api.test_access import assert_error

NOON = 1_767_268_800_000_000  # 2026-01-01T12:00Z
HOUR = 3_600_000_000


def row(at: int = NOON, **fields: Any) -> Row:
    usual = {
        "key": "k1", "user": "ann", "connection": "lab", "model": "m", "upstream_model": "M",
        "route": "chat/completions", "status": 200, "state": "ok", "prompt_tokens": 10, "completion_tokens": 5,
        "cost": 15_000, "latency": 2_000, "first_token": 1_500,
    }  # fmt: skip
    return Row(id=new_id(), at=at, **(usual | fields))


async def test_usage_is_added_up_with_what_is_not_known(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    for one in (
        row(),
        row(latency=4_000),
        row(model="n", cost=None),
        row(model="n", cost=7),
        row(model="o", cost=None),
    ):
        hub.ledger.append(one)
    usage = (await admin.get("/api/usage")).json()
    assert usage["by"] == "model"
    lines = {line["name"]: line for line in usage["data"]}
    assert (lines["m"]["calls"], lines["m"]["cost"], lines["m"]["latency_ms"]) == (2, "0.00000003", 3.0)
    assert (lines["n"]["cost"], lines["n"]["unpriced_calls"]) == ("0.000000000007", 1)
    assert (lines["o"]["cost"], lines["o"]["unpriced_calls"]) == (None, 1)
    assert (usage["total"]["calls"], usage["total"]["unpriced_calls"], usage["total"]["cost"]) == (
        5,
        2,
        "0.000000030007",
    )


async def test_usage_of_a_time_and_by_other_things(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    key_id, _ = await hub.token(name="laptop")
    for one in (row(), row(NOON + HOUR, key=key_id), row(NOON + 24 * HOUR, user="bo", connection="x")):
        hub.ledger.append(one)

    async def names(**params: str) -> list[str]:
        return [line["name"] for line in (await admin.get("/api/usage", params=params)).json()["data"]]

    assert await names(by="day") == ["2026-01-01", "2026-01-02"]
    assert await names(by="hour", since="2026-01-01T13:00:00Z") == ["2026-01-01T13:00Z", "2026-01-02T12:00Z"]
    assert await names(by="hour", since="2026-01-01T13:00:00+01:00", until="2026-01-01T13:00") == ["2026-01-01T12:00Z"]
    assert await names(by="user", since=str(NOON // 10**6 + 3600)) == ["ann", "bo"]
    assert sorted(await names(by="connection")) == ["lab", "x"]
    keys = (await admin.get("/api/usage", params={"by": "key"})).json()["data"]
    assert {line["name"]: line["label"] for line in keys} == {"k1": None, key_id: "laptop"}
    wrong = await admin.get("/api/usage", params={"since": "2026-02-01", "until": "2026-01-01"})
    assert_error(wrong, 400, "invalid_request")


async def test_nothing_used_costs_nothing(admin: httpx2.AsyncClient) -> None:
    usage = (await admin.get("/api/usage")).json()
    assert (usage["data"], usage["total"]["cost"], usage["total"]["latency_ms"]) == ([], "0", None)


async def test_calls_come_in_pages_without_a_gap_or_a_repeat(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    rows = [row(NOON + number // 2, state="error" if number % 2 else "ok") for number in range(7)]
    for one in rows:
        hub.ledger.append(one)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "3"} | ({} if cursor is None else {"cursor": cursor})
        page = (await admin.get("/api/calls", params=params)).json()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [one.id for one in sorted(rows, key=lambda one: (one.at, one.id), reverse=True)]
    failed = (await admin.get("/api/calls", params={"state": "error"})).json()["data"]
    assert len(failed) == 3
    assert_error(await admin.get("/api/calls", params={"cursor": "nonsense"}), 400, "invalid_request")
    assert_error(await admin.get("/api/calls", params={"limit": "1001"}), 422, "unprocessable_request")


async def test_a_call_is_told_whole(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    attempts = [Attempt("lab", "M", 503, "upstream_overloaded", 12.5), Attempt("lab", "M", 200, "", 2.0)]
    hub.ledger.append(row(attempts=2, attempt_list=attempts, cost=None, first_token=None, waited=500))
    [call] = (await admin.get("/api/calls", params={"model": "m", "key": "k1"})).json()["data"]
    assert (call["at"], call["cost"], call["latency_ms"], call["first_token_ms"], call["waited_ms"]) == (
        NOON / 1e6, None, 2.0, None, 0.5
    )  # fmt: skip
    assert call["attempt_list"][0] == {
        "connection": "lab", "model": "M", "status": 503, "error": "upstream_overloaded", "milliseconds": 12.5
    }  # fmt: skip


async def test_tables_for_those_who_ask_for_them(hub: SmallHub, admin: httpx2.AsyncClient) -> None:
    for one in (row(model='a,"b"'), row(model="=1", cost=None)):
        hub.ledger.append(one)
    answer = await admin.get("/api/usage", headers={"accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    lines = {line["name"]: line for line in csv.DictReader(io.StringIO(answer.text))}
    assert (lines['a,"b"']["cost"], lines["'=1"]["cost"], lines["'=1"]["unpriced_calls"]) == ("0.000000015", "", "1")
    page = await admin.get("/api/calls", params={"limit": 1}, headers={"accept": "text/csv"})
    assert len(list(csv.DictReader(io.StringIO(page.text)))) == 1
    rest = await admin.get("/api/calls", params={"cursor": page.headers["x-next"]}, headers={"accept": "text/csv"})
    assert "x-next" not in rest.headers


async def test_a_key_of_role_inference_sees_its_own_and_nothing_else(hub: SmallHub) -> None:
    """Gateway checklist 67."""
    mine, token = await hub.token(name="mine", limits={"requests_per_minute": 3})
    other, _ = await hub.token(name="other")
    for one in (row(key=mine, model="m1"), row(key=other, model="m2"), row(key="", model="m3")):
        hub.ledger.append(one)
    async with hub.client(token) as caller:
        me = (await caller.get("/api/me")).json()
        assert (me["role"], me["user"], me["key"]["id"], me["key"]["limits"]["requests_per_minute"]) == (
            "inference", "admin", mine, 3
        )  # fmt: skip
        usage = (await caller.get("/api/usage")).json()
        assert ([line["name"] for line in usage["data"]], usage["total"]["calls"]) == (["m1"], 1)
        for by in ("model", "key", "user", "connection", "day", "hour"):
            added = (await caller.get("/api/usage", params={"by": by})).json()
            assert added["total"]["calls"] == 1
        assert_error(await caller.get("/api/usage", params={"key": other}), 403, "permission_denied")
        for params in ({}, {"key": mine}, {"user": "ann"}):
            calls = (await caller.get("/api/calls", params=params)).json()["data"]
            assert [one["model"] for one in calls] == ["m1"]
        assert (await caller.get("/api/calls", params={"model": "m2"})).json()["data"] == []
        assert_error(await caller.get("/api/calls", params={"key": other}), 403, "permission_denied")
        table = (await caller.get("/api/calls", headers={"accept": "text/csv"})).text
        assert [line["model"] for line in csv.DictReader(io.StringIO(table))] == ["m1"]
