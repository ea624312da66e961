"""Several gateway processes on one port are one hub: limits, keys, figures, views."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from byom.testing import Behavior, FakeUpstream
from tests.server.processes import ASK, HubProcess, fill, hub_process, until

WORKERS = 4


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(Behavior(tokens=("one", " two"))) as fake:
        yield fake


async def burst(hub: HubProcess, key: str, count: int, model: str = "plain", **fields: Any) -> Counter[int]:
    """So many calls at once, each over a connection of its own; how many had which status."""
    async with hub.client(key, fresh=True) as client:
        body = {"model": model, **ASK, **fields}
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for _ in range(count)))
    return Counter(answer.status_code for answer in answers)


async def metric(client: httpx2.AsyncClient, name: str) -> float:
    """The sum over all labels."""
    text = (await client.get("/metrics")).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


async def test_four_workers_let_in_exactly_as_many_requests_as_the_limit_says(
    tmp_path: Path, upstream: FakeUpstream, database_url: str
) -> None:
    """gateway checklist 48, on SQLite and on PostgreSQL"""
    home = tmp_path / "home"
    filled = await fill(home, upstream, database_url=database_url, key={"limits": {"rate_limit": [100, 3600]}})
    async with hub_process(home, workers=WORKERS, database_url=database_url) as hub:
        assert len(hub.workers) == WORKERS
        found = await burst(hub, filled.key, 260)
        assert found == {200: 100, 429: 160}
        assert len(upstream.requests) == 100
    async with hub_process(home, workers=WORKERS, database_url=database_url) as hub:
        # Windows hold across a restart.
        assert await burst(hub, filled.key, 20) == {429: 20}


async def test_token_and_budget_limits_are_exact_over_all_workers(
    tmp_path: Path, upstream: FakeUpstream, database_url: str
) -> None:
    """gateway checklist 48, 53 and 50"""
    # What is reserved is what the calls use, so that the number of calls let in is certain: 100 tokens each.
    upstream.set_default(Behavior(text="x", prompt_tokens=60, completion_tokens=40))
    ask = {"messages": [{"role": "user", "content": "y" * 165}], "max_tokens": 40}
    home = tmp_path / "home"
    models = {
        "counted": {"limits": {"windows": [{"unit": "tokens", "amount": 2050, "seconds": 3600.0}]}},
        "priced": {
            "price": {"input": "0", "output": "0", "request": "0.01"},
            "limits": {"budget": {"amount": "0.25", "period": "day"}},
        },
    }
    filled = await fill(home, upstream, database_url=database_url, models=models)
    async with hub_process(home, workers=WORKERS, database_url=database_url) as hub:
        async with hub.client(filled.key, fresh=True) as client:
            size = len(client.build_request("POST", "/", json={"model": "counted", **ask}).content)
        assert size // 4 == 60, size
        assert await burst(hub, filled.key, 60, "counted", **ask) == {200: 20, 429: 40}
        assert await burst(hub, filled.key, 100, "priced", **ask) == {200: 25, 429: 75}
        async with hub.client(fresh=True) as client:
            await until(lambda: _is(metric(client, "byom_limit_reservations"), 0), 5)
    async with hub_process(home, workers=WORKERS, database_url=database_url) as hub:
        assert await burst(hub, filled.key, 8, "priced", **ask) == {429: 8}
        assert await burst(hub, filled.key, 8, "counted", **ask) == {429: 8}


async def _is(value: Any, wanted: float) -> bool:
    return bool(await value == wanted)


async def test_a_concurrency_limit_counts_the_calls_of_all_workers(tmp_path: Path, upstream: FakeUpstream) -> None:
    """gateway checklist 48"""
    upstream.set_default(Behavior(latency=1.0))
    filled = await fill(tmp_path / "home", upstream, models={"plain": {"limits": {"concurrency": 5}}})
    async with hub_process(tmp_path / "home", workers=WORKERS) as hub:
        assert await burst(hub, filled.key, 40) == {200: 5, 429: 35}
        assert await burst(hub, filled.key, 5) == {200: 5}


async def test_a_revoked_key_is_refused_by_every_worker_as_soon_as_the_answer_says_so(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """gateway checklist 65: in effect everywhere when the call that revokes is answered, and within a second if not"""
    filled = await fill(tmp_path / "home", upstream)
    async with hub_process(tmp_path / "home", workers=WORKERS) as hub:
        assert await burst(hub, filled.key, 24) == {200: 24}
        async with hub.client() as admin:
            assert (await admin.delete(f"/api/keys/{filled.key_id}")).status_code == 200
            assert await burst(hub, filled.key, 48) == {401: 48}
            created = (await admin.post("/api/keys", json={"name": "another", "user": "caller"})).json()
            assert await burst(hub, created["token"], 48) == {200: 48}


async def test_a_key_revoked_in_the_database_is_refused_everywhere_within_a_second(
    tmp_path: Path, upstream: FakeUpstream, database_url: str
) -> None:
    """gateway checklist 65: by another hub or program that shares the database"""
    from byom.catalog.catalog import Catalog
    from byom.settings import load_settings

    home = tmp_path / "home"
    filled = await fill(home, upstream, database_url=database_url)
    async with hub_process(home, workers=WORKERS, database_url=database_url) as hub:
        assert await burst(hub, filled.key, 24) == {200: 24}
        settings = load_settings({"home": str(home), "database_url": database_url}, environ={})
        async with Catalog.session(settings) as catalog:
            await catalog.keys.revoke(filled.key_id, actor="test")
        await asyncio.sleep(1.0)
        assert await burst(hub, filled.key, 48) == {401: 48}


async def test_figures_are_those_of_all_workers_whichever_answers(tmp_path: Path, upstream: FakeUpstream) -> None:
    """gateway checklist 91"""
    filled = await fill(tmp_path / "home", upstream)
    async with hub_process(tmp_path / "home", workers=WORKERS) as hub:
        assert await burst(hub, filled.key, 120) == {200: 120}
        async with hub.client("sk-byom-nobody") as stranger:
            assert (await stranger.get("/v1/models")).status_code == 401
        async with hub.client(fresh=True) as client:
            for _ in range(12):
                assert await metric(client, "byom_calls_total") == 120
                assert await metric(client, "byom_latency_seconds_count") == 120
                assert await metric(client, "byom_unauthorized_total") == 1
                assert await metric(client, "byom_workers") == WORKERS
            text = (await client.get("/metrics")).text
            labels = re.findall(r'^byom_worker_resident_memory_bytes\{worker="(\d)"\}', text, re.MULTILINE)
            assert labels == [str(number) for number in range(WORKERS)]
            assert text.count("# TYPE byom_calls_total counter") == 1


async def test_the_view_of_calls_under_way_is_of_all_workers(tmp_path: Path, upstream: FakeUpstream) -> None:
    """gateway checklist 91"""
    upstream.set_default(Behavior(hang=True))
    filled = await fill(tmp_path / "home", upstream)
    async with (
        hub_process(tmp_path / "home", workers=WORKERS) as hub,
        hub.client(filled.key, fresh=True) as caller,
        hub.client(fresh=True) as admin,
    ):
        asked = [
            asyncio.ensure_future(caller.post("/v1/chat/completions", json={"model": "plain", **ASK}))
            for _ in range(24)
        ]
        try:

            async def seen() -> bool:
                return len((await admin.get("/api/live")).json()["data"]) == 24

            await until(seen)
            for _ in range(8):
                live = (await admin.get("/api/live")).json()["data"]
                assert len({call["id"] for call in live}) == 24
                assert (await admin.get("/api/info")).json()["calls_under_way"] == 24
                assert await metric(admin, "byom_calls_in_flight") == 24
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

        async def none() -> bool:
            return not (await admin.get("/api/live")).json()["data"]

        await until(none)


async def test_what_one_worker_learned_of_ownership_the_others_know(tmp_path: Path, upstream: FakeUpstream) -> None:
    """gateway checklist 67, over several processes"""
    home = tmp_path / "home"
    filled = await fill(home, upstream)
    async with hub_process(home, workers=WORKERS) as hub, hub.client(filled.key, fresh=True) as client:
        made = await client.post("/v1/responses", json={"model": "plain", "input": "hello"})
        assert made.status_code == 200, made.text
        body = {"model": "plain", "input": "and?", "previous_response_id": made.json()["id"]}
        again = await asyncio.gather(*(client.post("/v1/responses", json=body) for _ in range(16)))
        assert {one.status_code for one in again} == {200}, again[0].text
        stranger = body | {"previous_response_id": "resp_of_somebody_else"}
        assert (await client.post("/v1/responses", json=stranger)).status_code == 404


def resident_kilobytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def told_to_the_system(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_the_process_that_holds_the_workers_together_is_small_and_starts_the_builtin_models_once(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    await fill(tmp_path / "home", upstream)
    async with hub_process(tmp_path / "home", workers=2) as hub:
        await until(lambda: len(hub.children("byom.host.builtin")) == 1)
        resident = resident_kilobytes(hub.process.pid)
        assert resident < 40_000, f"{resident} kB"

        async def answers() -> bool:
            return await burst(hub, hub.admin_key, 8, "extractive") == {200: 8}

        await until(answers)
        assert len(hub.children("byom.host.builtin")) == 1
        for pid in [hub.process.pid, *hub.workers]:
            for name in ("cmdline", "environ"):
                seen = told_to_the_system(pid, name)
                assert b"secret" not in seen
                assert hub.admin_key.encode() not in seen


async def test_changes_of_limits_hold_over_all_workers_at_once(tmp_path: Path, upstream: FakeUpstream) -> None:
    """gateway checklist 48 and 82"""
    filled = await fill(tmp_path / "home", upstream)
    async with hub_process(tmp_path / "home", workers=WORKERS) as hub, hub.client() as admin:
        assert await burst(hub, filled.key, 20) == {200: 20}
        began = time.monotonic()
        changed = await admin.patch("/api/models/plain", json={"limits": {"rate_limit": [10, 3600]}})
        assert changed.status_code == 200, changed.text
        assert time.monotonic() - began < 5
        assert await burst(hub, filled.key, 40) == {200: 10, 429: 30}
