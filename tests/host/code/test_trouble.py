"""Code that ends, hangs, leaks, floods and forks: the caller is told, the others go on, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import httpx2
import pytest

from tests.host.code.conftest import alive, ask, error_of, fields, status, text_of, until, wait_for_end


async def worker_pid(http: httpx2.AsyncClient) -> int:
    """The worker's process, once it is ready."""

    async def ready():
        worker = (await status(http))["workers"][0]
        return worker["pid"] if worker["state"] == "ready" else None

    return await until(ready)


@pytest.mark.parametrize(
    ("verb", "story"), [("die 7", "exit code 7"), ("crash", "signal SIGSEGV"), ("die 0", "exit code 0")]
)
async def test_code_that_ends_its_process_fails_its_calls_and_is_started_again(host, verb, story):
    async with host().client() as http:
        before = await worker_pid(http)
        other = asyncio.create_task(ask(http, "sleep 30"))

        async def begun():
            return (await status(http))["workers"][0]["calls"]

        await until(begun)
        answer = await ask(http, verb)
        assert answer.status_code == 502
        assert error_of(answer)["message"] == f"The code of model sync ended the process ({story})."
        assert error_of(answer)["code"] == "code_ended"
        assert error_of(await other)["code"] == "code_ended"
        assert text_of(await ask(http, "say again")) == "again"
        assert await worker_pid(http) != before
        assert story in (await status(http))["workers"][0]["last_problem"]


async def test_code_that_closes_every_descriptor_costs_its_worker_only(host):
    async with host().client() as http:
        assert error_of(await ask(http, "disconnect"))["code"] == "code_ended"
        assert text_of(await ask(http, "say connected")) == "connected"


async def test_a_stream_whose_process_ends_ends_with_an_error(host):
    async with host().client() as http:
        answer = await ask(http, "die 3", stream=True)
        assert answer.status_code == 200
        assert "last words" in answer.text
        assert "code_ended" in answer.text
        assert "[DONE]" not in answer.text


async def leave_after_first(http: httpx2.AsyncClient, content: str, model: str = "sync") -> None:
    async with http.stream("POST", "/v1/chat/completions", json=fields(content, model, stream=True)) as answer:
        async for _ in answer.aiter_lines():
            return


async def test_a_cancelled_call_that_goes_on_ends_its_worker_and_lets_the_others_finish(host):
    async with host(cancel_grace=0.3).client() as http:
        before = await worker_pid(http)
        other = asyncio.create_task(ask(http, "sleep 2"))
        await leave_after_first(http, "hang")
        assert text_of(await ask(http, "say next")) == "next"
        assert text_of(await other) == "slept"
        await asyncio.to_thread(wait_for_end, before)
        assert await worker_pid(http) != before
        assert (
            "did not end within 0.3 s after its call was cancelled"
            in (await status(http))["workers"][0]["last_problem"]
        )


@pytest.mark.parametrize(("content", "model"), [("polite", "sync"), ("forever {path}", "async")])
async def test_a_cancelled_call_that_ends_costs_no_worker(host, tmp_path, content, model):
    async with host(cancel_grace=5.0).client() as http:
        before = await worker_pid(http)
        await leave_after_first(http, content.format(path=tmp_path / "ended"), model)

        async def nothing_runs():
            return not (await status(http))["workers"][0]["calls"]

        await until(nothing_runs)
        assert await worker_pid(http) == before
        assert model == "sync" or (tmp_path / "ended").read_text() == "ended"


async def test_a_generator_is_closed_when_its_reader_leaves_and_waits_while_it_is_slow(host, tmp_path):
    path = tmp_path / "count"
    async with host(options={"count_file": str(path)}).client() as http:
        before = await worker_pid(http)
        call = fields("count 100000", stream=True)
        async with http.stream("POST", "/v1/chat/completions", json=call) as answer:
            lines = answer.aiter_lines()
            await anext(lines)

            async def stands_still():
                first = path.read_text()
                await asyncio.sleep(0.5)
                return first and first == path.read_text()

            await until(stands_still)
            assert int(path.read_text()) < 50_000
        closed = tmp_path / "count.closed"

        async def is_closed():
            return closed.exists()

        await until(is_closed)
        assert await worker_pid(http) == before


async def test_a_call_that_takes_too_long_is_told_so_and_its_worker_ended(host):
    async with host(timeout=0.5, cancel_grace=0.2).client() as http:
        before = await worker_pid(http)
        answer = await ask(http, "hang", stream=False)
        assert answer.status_code == 504
        assert error_of(answer)["code"] == "code_timeout"
        await asyncio.to_thread(wait_for_end, before)
        assert await worker_pid(http) != before
        assert text_of(await ask(http, "say fine")) == "fine"


async def test_a_leak_is_ended_before_it_takes_the_machine(host):
    async with host(memory_mb=200).client() as http:
        before = await worker_pid(http)
        answer = await ask(http, "leak")
        assert answer.status_code == 502
        assert "MiB of memory, of 200 that it may use" in error_of(answer)["message"]
        assert not alive(before)
        assert text_of(await ask(http, "say small")) == "small"
        assert "of 200 that it may use" in (await status(http))["workers"][0]["last_problem"]


async def test_megabytes_of_output_are_bounded_and_slow_nobody(host):
    running = host()
    async with running.client() as http:
        assert text_of(await ask(http, "shout 20")) == "done"
        lines = (await http.get("/-/logs?lines=10000")).json()["lines"]
        assert sum(map(len, lines)) < 2**21
        assert text_of(await ask(http, "tell after")) == "told"


async def test_a_fork_that_returns_twice_answers_once(host):
    async with host().client() as http:
        assert text_of(await ask(http, "fork")) == "answered"
        assert text_of(await ask(http, "say whole")) == "whole"


@pytest.mark.parametrize("verb", ["bomb", "double"])
async def test_code_that_forks_for_ever_is_ended(host, verb):
    async with host(max_processes=40, memory_mb=4000).client() as http:
        before = await worker_pid(http)
        answer = await ask(http, verb)
        assert "processes, of 40 that it may have" in error_of(answer)["message"]
        assert not alive(before)
        assert text_of(await ask(http, "say calm")) == "calm"


async def spawned(http: httpx2.AsyncClient, tmp_path) -> list[int]:
    """A child, a daemon, the worker and its keeper."""
    return [int(pid) for pid in text_of(await ask(http, f"spawn {tmp_path / 'pid'}")).split()]


async def test_nothing_is_left_when_the_host_stops(host, tmp_path):
    running = host()
    async with running.client() as http:
        pids = await spawned(http, tmp_path)
        assert all(map(alive, pids))
    await asyncio.to_thread(running.stop)
    assert not any(map(alive, pids))


@pytest.mark.parametrize("whole_group", [False, True])
async def test_nothing_is_left_when_the_host_is_killed(host, tmp_path, whole_group):
    running = host()
    async with running.client() as http:
        pids = await spawned(http, tmp_path)
    if whole_group:
        os.killpg(running.process.pid, signal.SIGKILL)
    else:
        running.process.kill()
    for pid in pids:
        await asyncio.to_thread(wait_for_end, pid)


async def test_nothing_is_left_of_a_worker_that_ends(host, tmp_path):
    async with host().client() as http:
        pids = await spawned(http, tmp_path)
        await ask(http, "die 1")
        for pid in pids:
            await asyncio.to_thread(wait_for_end, pid)
        assert text_of(await ask(http, "say new")) == "new"


async def test_code_that_kills_its_keeper_gains_nothing(host, tmp_path):
    async with host().client() as http:
        pids = await spawned(http, tmp_path)
        assert error_of(await ask(http, "keeper"))["code"] == "code_ended"
        for pid in pids:
            await asyncio.to_thread(wait_for_end, pid)
        assert text_of(await ask(http, "say healed")) == "healed"


async def test_other_models_go_on_while_one_is_in_trouble(host):
    async with host(workers=2, threads=4).client() as http:
        await worker_pid(http)
        stop = threading.Event()
        failed: list[str] = []

        async def steady():
            while not stop.is_set():
                answer = await ask(http, "await 0.01", model="async")
                if answer.status_code != 200:
                    failed.append(error_of(answer)["code"])

        going = asyncio.create_task(steady())
        for _ in range(3):
            await ask(http, "die 1")
        stop.set()
        await going
        assert set(failed) <= {"code_ended"}
        assert text_of(await ask(http, "say end")) == "end"
