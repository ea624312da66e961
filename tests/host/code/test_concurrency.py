"""Many calls at once: threads for code that blocks, one loop for code that does not."""

from __future__ import annotations

import asyncio
import time

from tests.host.code.conftest import ask, error_of, status, text_of


async def together(http, count: int, content: str, model: str) -> tuple[float, list[str]]:
    """Seconds for so many calls at once, and their answers."""
    started = time.perf_counter()
    answers = await asyncio.gather(*(ask(http, content, model=model) for _ in range(count)))
    return time.perf_counter() - started, [text_of(answer) for answer in answers]


async def test_a_hundred_calls_of_blocking_code_run_32_at_once(host):
    async with host().client() as http:
        await together(http, 100, "say x", "sync")
        seconds, answers = await together(http, 100, "sleep 0.05", "sync")
        assert set(answers) == {"slept"}
        assert seconds < 2.5  # one after the other: 5 s


async def test_asynchronous_code_that_waits_shares_one_loop(host):
    async with host().client() as http:
        seconds, answers = await together(http, 100, "await 0.2", "async")
        assert set(answers) == {"same True"}
        assert seconds < 5.0  # one after the other: 20 s


async def test_asynchronous_code_that_blocks_is_moved_to_threads(host):
    async with host().client() as http:
        seconds, answers = await together(http, 100, "block 0.05", "async")
        assert seconds < 2.5
        assert answers.count("other False") > 90
        log = "\n".join((await http.get("/-/logs")).json()["lines"])
        assert "async: asynchronous code blocks its event loop at" in log
        assert "odd_models.py:" in log


async def test_asynchronous_code_that_also_waits_stays_on_its_loop(host):
    """Connections of an asynchronous client belong to the loop on which they were opened."""
    async with host().client() as http:
        _, answers = await together(http, 20, "mixed 0.04", "async")
        assert set(answers) == {"same True"}
        log = "\n".join((await http.get("/-/logs")).json()["lines"])
        assert "others wait meanwhile" in log


async def test_an_instance_that_takes_one_call_gets_one_at_a_time(host):
    async with host().client() as http:
        seconds, _ = await together(http, 5, "sleep 0.1", "single")
        assert seconds >= 0.5


async def test_a_full_queue_refuses_with_a_time_to_come_back(host):
    async with host(threads=1, queue=1).client() as http:
        slow = asyncio.create_task(ask(http, "sleep 1"))
        await asyncio.sleep(0)
        while (await status(http))["workers"][0]["calls"] < 1:
            pass
        waiting = asyncio.create_task(ask(http, "say second"))
        while not (await status(http))["waiting"]:
            pass
        refused = await ask(http, "say third")
        assert refused.status_code == 503
        assert error_of(refused)["code"] == "host_busy"
        assert int(refused.headers["retry-after"]) >= 1
        assert text_of(await slow) == "slept"
        assert text_of(await waiting) == "second"


async def test_health_answers_at_once_under_load(host):
    async with host(threads=2).client() as http:
        assert text_of(await ask(http, "say ready")) == "ready"
        load = [asyncio.create_task(ask(http, "sleep 0.2")) for _ in range(20)]
        for path in ("/readyz", "/health", "/livez"):
            started = time.perf_counter()
            assert (await http.get(path)).status_code == 200
            assert time.perf_counter() - started < 0.5
        await asyncio.gather(*load)


async def test_several_workers_share_the_calls(host):
    async with host(workers=2, threads=1).client() as http:
        while len([one for one in (await status(http))["workers"] if one["state"] == "ready"]) < 2:
            pass
        seconds, _ = await together(http, 4, "sleep 0.2", "sync")
        assert seconds < 0.75
