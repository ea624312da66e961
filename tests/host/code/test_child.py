"""A host of code as a child of a hub."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import httpx2

from byom.host.child import Backoff, ChildHost
from tests.host.code.conftest import USER_CODE, ask, text_of

ENV = {"PYTHONPATH": str(USER_CODE)}


def configuration(**more: object) -> bytes:
    return json.dumps({"target": "odd", "contract": "odd_models:load", **more}).encode()


def client_of(child: ChildHost) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {child.token}"}
    return httpx2.AsyncClient(base_url=child.base_url.removesuffix("/v1"), headers=headers, timeout=30)


async def test_a_child_is_told_its_configuration_each_time_it_starts():
    starts: list[int] = []
    ended: asyncio.Queue[int | None] = asyncio.Queue()
    ready: asyncio.Queue[str] = asyncio.Queue()

    def current() -> bytes:
        starts.append(1)
        return configuration(options={"models": [{"name": f"start-{len(starts)}"}]})

    child = ChildHost(
        "byom.host.code",
        env=ENV,
        backoff=Backoff(first=0.01),
        configuration=current,
        on_ready=lambda host: ready.put_nowait(host.base_url),
        on_ended=lambda host: ended.put_nowait(host.ended_with),
    )
    async with child:
        await ready.get()
        async with client_of(child) as http:
            assert text_of(await ask(http, "say one", model="start-1")) == "one"
        os.kill(child.pid, signal.SIGKILL)
        assert await asyncio.wait_for(ended.get(), 20) == -signal.SIGKILL
        await asyncio.wait_for(ready.get(), 20)
        async with client_of(child) as http:
            assert text_of(await ask(http, "say two", model="start-2")) == "two"


async def test_what_the_code_prints_reaches_the_hub():
    output: list[bytes] = []
    found = asyncio.Event()

    def take(data: bytes) -> None:
        output.append(data)
        if b"err: hello" in b"".join(output):
            found.set()

    async with ChildHost("byom.host.code", env=ENV, configuration=configuration, on_output=take) as child:
        async with client_of(child) as http:
            await ask(http, "tell hello")
        await asyncio.wait_for(found.wait(), 10)
        assert child.token.encode() not in b"".join(output)


async def test_a_large_configuration_arrives_whole():
    users = {f"user-{number}": {"name": "x" * 100, "credentials": {}} for number in range(20_000)}
    child = ChildHost("byom.host.code", env=ENV, configuration=lambda: configuration(users=users))
    async with child, client_of(child) as http:
        assert text_of(await ask(http, "say large")) == "large"
