"""The processes of code: killed, and killed with their hub, with one worker and with several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.code.asking import add, ask, text_of
from tests.server.code.samples import rewrite, write_echo, write_plugin
from tests.server.processes import HubProcess, alive, children_of, hub_process, until

WORKERS = pytest.mark.parametrize("workers", [1, 2])


def hosts_of(hub: HubProcess) -> list[int]:
    return hub.children("byom.host.code")


def below(pid: int) -> list[int]:
    """All that a process has started, and what that has started."""
    found: list[int] = []
    for child in children_of(pid):
        found += [child, *below(child)]
    return found


async def connect_plugin(client: httpx2.AsyncClient, folder: Path) -> None:
    await add(client, write_plugin(folder), name="llms", models=[{"id": "custom-chat-plugin", "name": "gpt"}])
    body = {"connection": "llms", "preset": "parameter-custom-llm", "field": "param_set_api_key", "value": "sk-mine"}
    assert (await client.put("/api/me/credentials", json=body)).status_code == 200


async def pieces(client: httpx2.AsyncClient, first: asyncio.Event) -> str:
    """What a stream says until it ends, whichever way."""
    found = ""
    body = {"model": "gpt", "stream": True, "messages": [{"role": "user", "content": "long"}]}
    with contextlib.suppress(httpx2.HTTPError):
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            async for text in response.aiter_text():
                found += text
                first.set()
    return found


@WORKERS
async def test_a_host_killed_in_the_middle_of_a_stream_ends_that_call_alone(tmp_path: Path, workers: int) -> None:
    async with hub_process(tmp_path / "home", workers=workers) as hub, hub.client() as client:
        await connect_plugin(client, tmp_path / "plugin")
        first = asyncio.Event()
        reading = asyncio.ensure_future(pieces(client, first))
        await asyncio.wait_for(first.wait(), 20)
        (host,) = hosts_of(hub)
        os.kill(host, signal.SIGKILL)
        said = await asyncio.wait_for(reading, 20)
        assert '"error"' in said
        assert "[DONE]" not in said
        assert text_of(await ask(client, "extractive", "One sentence. Another one.")), "others are not disturbed"
        assert text_of(await ask(client, "gpt")) == "sk-mine"
        state = (await client.get("/api/connections/llms/host")).json()
        assert (state["state"], state["restarts"]) == ("ready", 1)
        rows = (await client.get("/api/calls?model=gpt&limit=10")).json()["data"]
        assert {row["state"] for row in rows} == {"ok", "error"} or len(rows) == 2


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_left_when_the_hub_ends(tmp_path: Path, workers: int, number: int) -> None:
    async with hub_process(tmp_path / "home", workers=workers) as hub:
        async with hub.client() as client:
            await add(client, f"{write_echo(tmp_path / 'code')}:echo", workers=2)
            assert text_of(await ask(client, "echo")) == "one: hello"
        started = below(hub.process.pid)
        assert len(started) >= 4, "the front, and a keeper and a worker for each of two"
        await hub.end(number)
        await until(lambda: not any(alive(pid) for pid in started), 15)


async def test_every_worker_knows_where_code_listens(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home", workers=3) as hub, hub.client(fresh=True) as client:
        path = write_echo(tmp_path / "code")
        await add(client, f"{path}:echo")
        answers = await asyncio.gather(*(ask(client, "echo", str(number)) for number in range(24)))
        assert {text_of(answer) for answer in answers} == {f"one: {number}" for number in range(24)}
        assert len(hosts_of(hub)) == 1, "one process for all workers"
        states = [(await client.get("/api/connections/echo/host")).json()["state"] for _ in range(6)]
        assert set(states) == {"ready"}
        for pid in hub.workers[:2]:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: _all_answer(client))
        rewrite(path, ('"one"', '"two"'))
        assert (await client.post("/api/connections/echo/restart")).json()["state"] == "ready"
        answers = await asyncio.gather(*(ask(client, "echo") for _ in range(12)))
        assert {text_of(answer) for answer in answers} == {"two: hello"}
        changed: dict[str, Any] = (await client.patch("/api/connections/echo", json={"enabled": False})).json()
        assert not changed["connection"]["enabled"]
        await until(lambda: not hosts_of(hub))


async def _all_answer(client: httpx2.AsyncClient) -> bool:
    try:
        answers = await asyncio.gather(*(ask(client, "echo") for _ in range(12)))
    except httpx2.HTTPError:
        return False
    return all(answer.status_code == 200 for answer in answers)


async def test_a_process_that_ends_by_itself_comes_back_and_the_hub_says_what_happened(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "home") as hub, hub.client() as client:
        await add(client, f"{write_echo(tmp_path / 'code')}:echo")
        broken = await ask(client, "echo", "die")
        assert broken.status_code == 502, broken.text
        assert text_of(await ask(client, "echo")) == "one: hello"
        await until(lambda: _log_has(client, "exit"))


async def _log_has(client: httpx2.AsyncClient, text: str) -> bool:
    return text in (await client.get("/api/connections/echo/logs")).text
